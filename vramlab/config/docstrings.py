"""What a function or class of ours says of itself, also where it is machine code, which has no docstrings."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any


def docstring(thing: Any) -> str:
    """Return the docstring of a function or class; empty if it has none."""
    return inspect.getdoc(thing) or _in_source(thing)


def _in_source(thing: Any) -> str:
    """Find it at the top level of the source that lies beside the module."""
    path = getattr(inspect.getmodule(thing), "__file__", None)
    if path is None:
        return ""
    source = Path(path).with_name(Path(path).name.partition(".")[0] + ".py")
    for node in ast.parse(source.read_bytes()).body if source.is_file() else ():
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == thing.__name__:
            return ast.get_docstring(node) or ""
    return ""
