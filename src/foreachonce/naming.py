"""Names of users' functions: in messages, and for pickles. Pure."""

from __future__ import annotations

import sys


def name_of_function(function: object) -> str:
    """The name by which its author knows a function."""
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)


def reference(decorated: object) -> str | None:
    """The name to pickle a decorated function by, as pickle does it for a plain one; None where it must go by value.

    A function of the main program goes by value: in the process that unpickles it the main program is another.
    """
    module, name = getattr(decorated, "__module__", None), getattr(decorated, "__qualname__", None)
    if module is None or name is None or module == "__main__":
        return None
    found: object = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return name if found is decorated else None
