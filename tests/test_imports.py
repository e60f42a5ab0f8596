"""Imports point one way (see CONTRIBUTING.md)."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "vramlab"

MAY_IMPORT = {
    "config": set(),
    "allocator": {"config"},
    "engine": {"config", "allocator", "prediction"},
    "prediction": {"config"},
    "traces": {"config"},
    "servers": {"config", "allocator", "engine", "traces"},
    "runs": {"config", "allocator", "engine", "traces"},
    "analysis": {"config", "traces", "engine.outcomes", "runs.records"},
    "simulation": {"config", "allocator", "engine", "traces", "runs", "servers"},
    "live": {"config", "allocator", "engine", "traces", "runs", "servers"},
    "experiments": {
        "config", "allocator", "engine", "traces", "runs", "analysis", "prediction", "simulation", "live",
        "servers",
    },
}  # fmt: skip
MAY_IMPORT["__main__"] = {"cli"}
MAY_IMPORT["widgets"] = MAY_IMPORT["cli"] = {*MAY_IMPORT["experiments"], "experiments"}


OF_FILES = {"gzip", "io", "pandas", "pathlib", "pyarrow", "shutil", "tempfile", "zlib"}


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


def opens_files(text: str) -> list[str]:
    """What a module has to do with files: imports and calls."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = (
                [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            )
            found += [name for name in names if name.partition(".")[0] in OF_FILES]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open":
            found.append("open")
    return found


def test_the_engine_opens_no_file():
    found = {path.name: opens_files(path.read_text("utf-8")) for path in (ROOT / "engine").rglob("*.py")}
    assert {name: what for name, what in found.items() if what} == {}
    assert opens_files("import gzip\nfrom pandas.api import types\nopen('a')") == [
        "gzip",
        "pandas.api",
        "open",
    ]


def test_the_engine_is_there_without_pandas():
    code = "import sys, vramlab.engine.engine, vramlab.engine.interpreter; print('pandas' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


def test_the_rule_is_one_that_can_fail():
    assert not allowed("live.driver", "simulation")
    assert not allowed("engine.serving", "analysis")
    assert not allowed("runs.records", "engine")
    assert allowed("runs.records", "analysis")


def graph(root):
    """Each module of a package with those that it imports, anywhere in the file and for types as well."""
    files = {
        ".".join(path.relative_to(root.parent).with_suffix("").parts): path for path in root.rglob("*.py")
    }
    modules = {name.removesuffix(".__init__"): path for name, path in files.items()}
    edges = {}
    for name, path in modules.items():
        edges[name] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                named = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                inside = name if path.name == "__init__.py" else name.rpartition(".")[0]
                for _ in range(node.level - 1):
                    inside = inside.rpartition(".")[0]
                base = ".".join(part for part in (inside if node.level else "", node.module) if part)
                # what is imported from a package is a module of it, or something that its front door has
                named = [
                    full if (full := f"{base}.{alias.name}") in modules else base for alias in node.names
                ]
            else:
                continue
            edges[name].update(module for module in named if module in modules)
    return edges


def circles(edges):
    """Sets of modules that import each other, directly or over others."""
    reached = {}
    for module in edges:
        seen, ahead = set(), [module]
        while ahead:
            new = edges[ahead.pop()] - seen
            seen |= new
            ahead += new
        reached[module] = seen
    return {
        frozenset(other for other in edges if other in reached[module] and module in reached[other])
        for module in edges
        if module in reached[module]
    }


WITHOUT_CIRCLES = ["allocator", "engine", "runs", "simulation"]  # live follows


@pytest.mark.parametrize("package", WITHOUT_CIRCLES)
def test_no_modules_import_each_other(package):
    inside = f"vramlab.{package}."
    found = [
        sorted(ring) for ring in circles(graph(ROOT)) if any(f"{name}.".startswith(inside) for name in ring)
    ]
    assert not found, f"these import each other: {found}"


def test_circles_are_found_wherever_the_imports_stand(tmp_path):
    root = tmp_path / "house"
    (root / "rooms").mkdir(parents=True)
    for path, text in {
        "__init__.py": "",
        "rooms/__init__.py": "from house.rooms.kitchen import Stove",
        "rooms/kitchen.py": "if TYPE_CHECKING:\n    from house.rooms import cellar",
        "rooms/cellar.py": "def wine():\n    from . import hall",
        "rooms/hall.py": "import house.rooms.kitchen",
        "garden.py": "from house.rooms import Stove",
    }.items():
        (root / path).write_text(text)
    ring = {"house.rooms.kitchen", "house.rooms.cellar", "house.rooms.hall"}
    assert circles(graph(root)) == {frozenset(ring)}
    (root / "rooms/cellar.py").write_text("")
    assert circles(graph(root)) == set()
