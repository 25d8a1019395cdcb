"""Write docs/modules.md: every module of the library with the first line of its docstring."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "foreachonce"
PAGE = ROOT / "docs" / "modules.md"


def first_line(module: Path) -> str:
    """The first line of a module's docstring, as a cell of a table."""
    docstring = ast.get_docstring(ast.parse(module.read_text())) or ""
    return docstring.partition("\n")[0].replace("|", "\\|")


def page() -> str:
    """The page's text: a table for each folder."""
    lines = ["# Modules", "", "Made by `python tools/modules.py` from the modules' docstrings.", ""]
    folders = [PACKAGE, *sorted(path.parent for path in PACKAGE.rglob("*/__init__.py"))]
    for folder in folders:
        name = folder.relative_to(PACKAGE.parent).as_posix()
        lines += [f"## {name}/", "", first_line(folder / "__init__.py"), "", "| module | what it is |", "|---|---|"]
        modules = sorted(path for path in folder.glob("*.py") if path.stem != "__init__")
        lines += [f"| `{module.name}` | {first_line(module)} |" for module in modules]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page())
