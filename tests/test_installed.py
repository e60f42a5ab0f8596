"""The built wheel in an empty folder, away from the checkout: what the README shows works there.

The wheel is unpacked and comes first on the path; dependencies are those of this environment. `make
installed` runs the same in an environment into which nothing but the wheel was installed (VRAMLAB_INSTALLED
is its Python).
"""

import json
import os
import re
import subprocess
import sys
import zipfile
from importlib import metadata, util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = re.findall(r"^vramlab (.+)$", README, re.MULTILINE)

LIVE = """
import asyncio

import numpy as np
import vramlab
from vramlab.live.stand_ins import with_stand_ins

config = vramlab.load_config("config/scenarios/tight.yaml", ["zones.critical.reserved_models=[]"])
inventory = vramlab.load_inventory("config/model_config.yaml")
name = next(name for name, spec in inventory.items() if spec.priority == "medium" and spec.vram_size_mb < 5)
models = with_stand_ins({name: inventory[name]})
image = np.zeros((1, 3, 128, 128), dtype=np.float32)


async def serve():
    async with vramlab.LiveRuntime(config, models) as runtime:
        return await runtime.infer(name, {"input": image})


print(type(asyncio.run(serve())).__name__)
"""


class Installed:
    """An installed package, used from a folder that had nothing in it."""

    def __init__(self, python, folder, path=""):
        self.python, self.folder = python, folder
        self.environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        if path:
            self.environment["PYTHONPATH"] = str(path)

    def run(self, program, *arguments, cwd=None):
        done = subprocess.run(
            [self.python, "-c", program, *map(str, arguments)], cwd=cwd or self.folder, env=self.environment,
            capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, f"{program} {arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def vramlab(self, *arguments):
        return self.run("from vramlab.cli import main; main()", *arguments)


def build_wheel(folder):
    if util.find_spec("hatchling"):
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    else:
        command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("vramlab-*.whl"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("anywhere")
    if python := os.environ.get("VRAMLAB_INSTALLED"):
        return Installed(Path(python).absolute(), folder)
    built = tmp_path_factory.mktemp("wheel")
    with zipfile.ZipFile(build_wheel(built)) as wheel:
        wheel.extractall(built / "site")
    return Installed(sys.executable, folder, built / "site")


@pytest.fixture(scope="module")
def package(installed):
    """Where it is installed, and that this is not the checkout."""
    found = Path(installed.run("import vramlab; print(vramlab.__file__)").strip()).parent
    assert not found.is_relative_to(ROOT / "vramlab")
    assert (found / "bundled" / "config" / "vram_config.yaml").exists()
    return found


def contents(folder):
    return {
        path: path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.suffix != ".pyc" and path.is_file()
    }


def test_what_the_readme_shows_works_anywhere(installed, package):
    rng = np.random.default_rng(0)
    calls = pd.DataFrame(
        {"when": rng.uniform(0, 600, 500), "endpoint": rng.choice(list("abcdefghijklmnop"), 500)}
    )
    calls.sort_values("when").to_csv(installed.folder / "calls.csv", index=False)
    before = contents(package)
    for program in PYTHON:
        assert installed.run(program).strip()
    assert len(COMMANDS) >= 9
    for command in COMMANDS:
        assert installed.vramlab(*command.split()).strip(), command
    assert contents(package) == before
    written = {path.relative_to(installed.folder).parts[0] for path in installed.folder.rglob("*")}
    assert not written & {"config", "traces"}
    assert (installed.folder / "mine.png").read_bytes()[:4] == b"\x89PNG"


def test_the_demo_leaves_its_results_in_the_folder_one_is_in(installed, package):
    before = contents(package)
    installed.vramlab("demo", "--device", "cpu-emulated", "--seconds", "3")
    assert (installed.folder / "results" / "demo" / "load_cost_by_policy.png").exists()
    assert contents(package) == before


def test_the_live_runtime_answers(installed, package):
    assert installed.run(LIVE).strip().endswith("list")


def test_notebooks_are_copied_ready_to_run(installed, package):
    installed.vramlab("notebooks", "--out", "lab")
    lab = installed.folder / "lab"
    names = {path.name for path in lab.glob("*.ipynb")}
    assert names == {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
    cells = json.loads((lab / "00_quickstart.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    program = "\n".join(line for cell in code for line in cell.splitlines() if not line.startswith("%"))
    installed.environment["MPLBACKEND"] = "agg"
    installed.run(program, cwd=lab)


def test_a_file_of_ones_own_comes_before_the_bundled_one(installed, package):
    own = installed.folder / "own" / "traces"
    own.mkdir(parents=True)
    (own / "forty_models.csv.gz").write_bytes(b"")
    program = "from vramlab.config.bundled import there; print(there('traces/forty_models.csv.gz'))"
    assert installed.run(program, cwd=own.parent).strip() == "traces/forty_models.csv.gz"
    assert str(package) in installed.run(program)
    outside = "from vramlab.config.bundled import there; print(there('traces/../traces/forty_models.csv.gz'))"
    assert str(package) not in installed.run(outside)


def test_what_is_imported_is_asked_for():
    """Modules that the package imports are those of its dependencies, and of extras."""
    modules = set()
    for path in (ROOT / "vramlab").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        modules |= set(re.findall(r"^\s*(?:import|from) (\w+)", text, re.MULTILINE))
    ours = {"vramlab", *sys.stdlib_module_names}
    names = metadata.packages_distributions()
    brought = {"pydantic-core": "pydantic", "protobuf": "onnx", "ml-dtypes": "onnx", "pillow": "matplotlib"}
    wanted = (ROOT / "pyproject.toml").read_text(encoding="utf-8").lower()
    for module in modules - ours:
        for name in names.get(module, ()):
            name = name.lower().replace("_", "-")
            assert f'"{brought.get(name, name)}' in wanted, module


def test_it_replays_without_what_only_live_sessions_need(tmp_path):
    """The wheel vramlab-sim: no onnxruntime, onnx and NVML."""
    program = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("onnxruntime", "onnx", "ml_dtypes", "pynvml"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from vramlab.cli.app import run

trace, tight = "traces/live_workload.csv", ("--config", "config/scenarios/tight.yaml")
print(run(["replay", trace, *tight]), run(["compare", trace, *tight, "--policies", "lru"]))
print(run(["verify", "traces/recorded_tight"]))
sys.exit(run(["record", "--workload", trace, *tight, "--out", "run"]))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT)})  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "\n0 0\n" in done.stdout
    said = done.stderr.strip()
    assert said.startswith("vramlab: this needs ")
    assert said.endswith(": pip install 'vramlab-sim[live]'")
    assert "\n" not in said
    assert not list(tmp_path.iterdir())
