"""The core compiled and interpreted: which one runs, how it is built, and that both give the same."""

import ast
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from vramlab.cli.app import run
from vramlab.config.compiled import compiled, outdated
from vramlab.experiments.replay import replay

ROOT = Path(__file__).parents[1]


def compiling():
    """The module ``.ci/compiling.py``."""
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    spec = importlib.util.spec_from_file_location("compiling", ROOT / ".ci" / "compiling.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class App:
    def __init__(self):
        self.warnings = []

    def display_warning(self, text):
        self.warnings.append(text)


def built(module, root, monkeypatch, version="standard"):
    """What the hook says of a wheel, and what it warns of."""
    app = App()
    hook = module.CompiledCore(str(root), {}, None, None, str(root / "dist"), "wheel", app)
    data = {"pure_python": True, "infer_tag": False, "force_include": {}}
    hook.initialize(version, data)
    return hook, data, app.warnings


def test_the_version_says_which_runs(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.endswith(" (compiled)\n" if compiled() else " (interpreted)\n")


def test_machine_code_older_than_its_source_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("vramlab.cli.app.compiled", lambda: True)
    monkeypatch.setattr("vramlab.cli.app.outdated", lambda: [Path("engine.so")])
    assert run(["--version"]) == 2
    assert capsys.readouterr().err.startswith("vramlab: engine.so: machine code older than its source: make")


@pytest.mark.skipif(compiled(), reason="looks beside its own file, which machine code has as it was built")
def test_machine_code_is_older_where_its_source_is_newer_or_gone(tmp_path, monkeypatch):
    module = tmp_path / "config" / "compiled.py"
    monkeypatch.setattr("vramlab.config.compiled.__file__", str(module))
    (tmp_path / "a.py").touch()
    for name in ("a", "gone"):
        (tmp_path / f"{name}{EXTENSION_SUFFIXES[0]}").touch()
    os.utime(tmp_path / "a.py", (0, 0))
    assert [path.name.partition(".")[0] for path in outdated()] == ["gone"]
    os.utime(tmp_path / "a.py")
    os.utime(tmp_path / f"a{EXTENSION_SUFFIXES[0]}", (0, 0))
    assert [path.name.partition(".")[0] for path in outdated()] == ["a", "gone"]


def test_results_say_which_ran():
    trace, tight = ROOT / "traces" / "live_workload.csv", ROOT / "config" / "scenarios" / "tight.yaml"
    assert replay(str(trace), str(tight), mode="decide").figures["compiled"] is compiled()


def test_all_of_the_core_is_compiled_or_none():
    names = compiling().core(ROOT)
    assert len(names) > 10
    for name in names:
        made = [suffix for suffix in EXTENSION_SUFFIXES if (ROOT / name).with_suffix(suffix).exists()]
        assert bool(made) == compiled()


def test_what_is_left_out_exists():
    module = compiling()
    for end in module.INTERPRETED:
        assert any(path.as_posix().endswith(f"/{end}") for path in (ROOT / "vramlab").rglob("*.py"))
        assert not any(name.endswith(f"/{end}") for name in module.core(ROOT))


def test_no_generator_of_the_core_yields_while_it_handles_an_exception():
    """Machine code would lose the exception, and crash."""
    trees = [ast.parse((ROOT / name).read_text(encoding="utf-8")) for name in compiling().core(ROOT)]
    for block in (block for tree in trees for block in ast.walk(tree)):
        if isinstance(block, ast.Try | ast.TryStar):
            rest = [inner for part in (*block.handlers, *block.finalbody) for inner in ast.walk(part)]
            assert not any(isinstance(inner, ast.Yield | ast.YieldFrom) for inner in rest), block.lineno


def test_a_wheel_is_pure_python_unless_it_is_asked_to_be_compiled(tmp_path, monkeypatch):
    module = compiling()
    monkeypatch.setattr(module, "compile_core", lambda root, build: {"vramlab/x.so": build / "x.so"})
    for asked, version in ((None, "standard"), ("0", "standard"), ("1", "editable")):
        monkeypatch.delenv(module.ASKED_FOR, raising=False)
        if asked is not None:
            monkeypatch.setenv(module.ASKED_FOR, asked)
        hook, data, warnings = built(module, tmp_path, monkeypatch, version)
        assert data == {"pure_python": True, "infer_tag": False, "force_include": {}}
        assert not warnings
        assert bool(hook.dependencies()) == (asked == "1")
    hook, data, warnings = built(module, tmp_path, monkeypatch)
    path = str(tmp_path / "build" / "compiled" / "x.so")
    assert data == {"pure_python": False, "infer_tag": True, "force_include": {path: "vramlab/x.so"}}
    assert not warnings


def test_a_wheel_that_cannot_be_compiled_is_pure_python_and_says_so(tmp_path, monkeypatch):
    module = compiling()

    def refuse(root, build):
        raise subprocess.CalledProcessError(1, "cc")

    monkeypatch.setattr(module, "compile_core", refuse)
    monkeypatch.setenv(module.ASKED_FOR, "1")
    _, data, (warning,) = built(module, tmp_path, monkeypatch)
    assert data == {"pure_python": True, "infer_tag": False, "force_include": {}}
    assert "pure Python" in warning


def test_what_the_compiler_makes_says_that_it_is_compiled(tmp_path):
    """Of a tree with one file of the core, which takes seconds; all of it takes a minute."""
    module = compiling()
    for package in ("mypyc", "setuptools", "pydantic"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    if not any(map(shutil.which, ("cc", "gcc", "clang", "cl"))):
        pytest.skip("there is no C compiler")
    folder = tmp_path / "vramlab" / "config"
    folder.mkdir(parents=True)
    for package in (folder, folder.parent):
        (package / "__init__.py").touch()
    shutil.copy(ROOT / "vramlab" / "config" / "compiled.py", folder)
    said = "from vramlab.config.compiled import compiled; print(compiled())"

    def says():
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        command = [sys.executable, "-c", said]
        return subprocess.check_output(command, text=True, cwd=tmp_path, env=environment).strip()

    assert says() == "False"
    for name, path in module.compile_core(tmp_path, tmp_path / "build").items():
        shutil.copyfile(path, tmp_path / name)
    assert says() == "True"
    module.remove(tmp_path)
    assert says() == "False"


def test_both_give_the_same():
    if not compiled():
        pytest.skip("the core is not compiled: make test-compiled")

    def found(*arguments):
        command = [sys.executable, "-m", "tests.both_ways", *arguments]
        return json.loads(subprocess.run(command, capture_output=True, check=True, cwd=ROOT).stdout)

    machine_code, source = found(), found("--interpreted")
    assert (machine_code.pop("compiled"), source.pop("compiled")) == (True, False)
    assert machine_code == source
    assert len(set(source.values())) == len(source) > 20  # and the runs do differ
