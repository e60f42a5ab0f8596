"""What the package promises to those who import it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import vramlab
from vramlab.cli.commands import COMMANDS

ROOT = Path(vramlab.__file__).parent


def test_it_says_that_it_is_typed():
    assert (ROOT / "py.typed").exists()


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_function_is_annotated(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            arguments += [found for found in (node.args.vararg, node.args.kwarg) if found]
            bare = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
            assert not bare, f"{node.name}, line {node.lineno}: {', '.join(bare)}"
            assert node.returns is not None, f"{node.name}, line {node.lineno}: what it returns"


def test_what_is_at_the_top_is_found_and_listed():
    for name in vramlab.__all__:
        assert callable(getattr(vramlab, name))
        assert name in dir(vramlab)
    with pytest.raises(AttributeError, match="no attribute 'simulat'"):
        _ = vramlab.simulat


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("vramlab", {"onnxruntime", "pandas", "matplotlib"}),
        # the list of commands waits for what the command line imports
        ("vramlab.cli.app", {"onnxruntime", "numpy", "pandas", "pydantic", "yaml", "scipy", "matplotlib"}),
        # and each command for its own module
        (
            ", ".join(sorted({f"vramlab.cli.{one.module}" for one in COMMANDS.values()})),
            {"onnxruntime", "onnx", "scipy", "matplotlib", "ipywidgets", "optuna", "distributed"},
        ),
    ],
)
def test_importing_it_loads_nothing_heavy(module, heavy):
    program = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not heavy & set(done.stdout.split())


def test_the_command_line_runs_as_a_module_too():
    done = subprocess.run([sys.executable, "-m", "vramlab", "--version"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert vramlab.__version__ in done.stdout
