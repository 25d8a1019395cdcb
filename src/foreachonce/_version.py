"""The versions that an entry records."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def versions() -> str:
    """``foreachonce X, pyspark Y``, as far as they are installed as packages."""
    import pyspark

    try:
        own = version("foreachonce")
    except PackageNotFoundError:
        own = "(not installed, sent along)"
    return f"foreachonce {own}, pyspark {pyspark.__version__}"
