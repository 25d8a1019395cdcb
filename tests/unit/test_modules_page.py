"""The page of modules is what the docstrings say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

TOOL = Path(__file__).parent.parent.parent / "tools" / "modules.py"


def test_page_of_modules_is_up_to_date():
    spec = importlib.util.spec_from_file_location("modules", TOOL)
    modules = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(modules)
    assert modules.PAGE.read_text() == modules.page(), "run: python tools/modules.py"
