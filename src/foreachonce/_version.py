"""The versions that an entry records."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version


@cache
def versions() -> str:
    """``foreachonce X, pyspark Y``, as far as they are installed as packages."""
    import pyspark

    return f"foreachonce {version('foreachonce')}, pyspark {pyspark.__version__}"
