"""Imports point one way (see CONTRIBUTING.md)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "vramlab"

MAY_IMPORT = {
    "config": set(),
    "allocator": {"config"},
    "engine": {"config", "allocator", "prediction"},
    "prediction": {"config"},
    "traces": {"config"},
    "analysis": {"config", "traces", "engine.records"},
    "simulation": {"config", "allocator", "engine", "traces"},
    "live": {"config", "allocator", "engine", "traces"},
    "experiments": {
        "config", "allocator", "engine", "traces", "analysis", "prediction", "simulation", "live"
    },
}  # fmt: skip
MAY_IMPORT["widgets"] = MAY_IMPORT["cli"] = {*MAY_IMPORT["experiments"], "experiments"}


def imported(path: Path) -> set[str]:
    """Modules of vramlab that a file imports, without the leading ``vramlab.``."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    return {name.removeprefix("vramlab.") for name in names if name.startswith("vramlab.")}


def allowed(module: str, package: str) -> bool:
    return any(module == known or module.startswith(f"{known}.") for known in {package, *MAY_IMPORT[package]})


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    package = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if package == "__init__":
        return  # the front door
    wrong = sorted(name for name in imported(path) if not allowed(name, package))
    assert not wrong, f"{package} must not import {', '.join(wrong)}"


def test_the_rule_is_one_that_can_fail():
    assert not allowed("live.driver", "simulation")
    assert not allowed("engine.serving", "analysis")
    assert allowed("engine.records", "analysis")
