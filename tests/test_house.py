"""How large files, functions and signatures of the package may be (CONTRIBUTING.md).

A signature may be larger where a comment right above it, or on its lines, says why. What others are still at
work on stands in `NOT_YET`; a place that no longer needs to is an error too, so the list can only shrink.
"""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "vramlab"
FILES = sorted(ROOT.rglob("*.py"))
MOST_LINES, MOST_IN_A_FUNCTION, MOST_PARAMETERS = 400, 60, 6

NOT_YET: dict[str, str] = {}


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from ``def`` to the end, without decorators and docstring."""
    whole = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is None:
        return whole
    first = function.body[0]
    return whole - (first.end_lineno - first.lineno + 1)


def parameters_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Number of parameters but ``self`` and ``cls``."""
    given = function.args
    names = [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def says_why(function: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> bool:
    """Whether a comment stands on the lines of the signature, or right above it."""
    top = min([function.lineno, *(one.lineno for one in function.decorator_list)])
    signature = lines[top - 1 : function.body[0].lineno - 1]
    above = lines[top - 2].strip()
    return above.startswith("#") or any("  # " in line and "fmt:" not in line for line in signature)


def too_large(text: str, name: str) -> dict[str, str]:
    """What of a file is too large, by place."""
    found, lines = {}, text.splitlines()
    if len(lines) > MOST_LINES:
        found[name] = "lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            place = f"{name} {node.name}"
            if lines_of(node) > MOST_IN_A_FUNCTION:
                found[place] = "lines"
            if parameters_of(node) > MOST_PARAMETERS and not says_why(node, lines):
                found[place] = "parameters"
    return found


@cache
def of_file(path: Path) -> dict[str, str]:
    return too_large(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_is_too_large(path):
    new = {place: what for place, what in of_file(path).items() if NOT_YET.get(place) != what}
    assert not new, "split it by an idea, or say why in a comment right above the signature"


@pytest.mark.parametrize("place", NOT_YET)
def test_the_list_of_what_is_not_yet_small_shrinks(place):
    path = ROOT / place.split()[0]
    assert path.exists(), "take it off the list"
    assert of_file(path).get(place) == NOT_YET[place], "take it off the list"


def test_the_test_sees_what_it_looks_for():
    body = "\n".join(["    x = 1"] * 60)
    assert too_large(f"def f():\n{body}", "a.py") == {"a.py f": "lines"}
    assert too_large(f'def f():\n    """Say.\n\n    More.\n    """\n{body[10:]}', "a.py") == {}
    many = ", ".join(f"p{number}" for number in range(7))
    assert too_large(f"def f({many}):\n    pass", "a.py") == {"a.py f": "parameters"}
    assert too_large(f"class A:\n    def f(self, {many[4:]}):\n        pass", "a.py") == {}
    for reason in (f"# Users name them.\ndef f({many}):", f"def f({many}):  # users name them"):
        assert too_large(f"{reason}\n    pass", "a.py") == {}
    assert too_large("x = 1\n" * 401, "a.py") == {"a.py": "lines"}
