"""Compile the core with mypyc: beside its source in a checkout, or into a wheel that is asked to be compiled.

The same files run interpreted and compiled; :data:`CORE` says which are compiled. As a script this builds the
extension modules beside their source (``make compiled``), where Python finds them first; ``--remove`` takes
them away again. As a build hook it puts them into the wheel where ``VRAMLAB_COMPILED=1`` is set. A wheel is
else pure Python, and it is so too where nothing can be compiled: an installation never fails for that.

A hook of our own, as the plug-in hatch-mypyc would have to be installed for each build, also for those that
compile nothing, and builds nothing in a checkout.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parents[1]
ASKED_FOR = "VRAMLAB_COMPILED"
NEEDS = ["mypy[mypyc]>=1.19"]
"""What a compiled wheel is built with."""

CORE = (
    "config/compiled.py",
    "allocator/*.py",
    "allocator/policies/*.py",
    "engine/*.py",
    "live/batches.py",
    "live/driver.py",
    "live/interrupts.py",
    "live/onnx_sessions.py",
    "live/places.py",
    "live/reception.py",
    "live/short_runs.py",
    "live/tasks.py",
    "live/threads.py",
    "runs/recorder.py",
    "runs/usage.py",
    "simulation/agenda.py",
    "simulation/decide.py",
    "simulation/driver.py",
    "simulation/shared.py",
    "simulation/machine.py",
    "simulation/history.py",
    "simulation/service_times.py",
)
"""What is compiled, in the folder of the package."""

INTERPRETED = {
    "__init__.py": "has nothing to compile",
    "allocator/invariants.py": "runs in tests",
    "policies/about.py": "is read once",
    "policies/own.py": "holds users' own code, and has switches of each object's own",
    "policies/registry.py": "is asked once a run",
}
"""What CORE names and is not compiled, by the end of its path, and why."""

# To the compiler what is of others is an object like any other. To read their types takes minutes, and so do
# those of all that the package has at its front door.
_TYPES = """[mypy]
ignore_missing_imports = True
follow_imports = silent

[mypy-vramlab,asyncio.*,numpy.*,pandas.*,pydantic.*,pydantic_core.*,scipy.*,yaml.*]
follow_imports = skip
"""


def core(root: Path) -> list[str]:
    """List the files that are compiled, relative to `root`."""
    package = root / "vramlab"
    found = sorted({path for pattern in CORE for path in package.glob(pattern)})
    names = [path.relative_to(root).as_posix() for path in found]
    return [name for name in names if not name.endswith(tuple(f"/{end}" for end in INTERPRETED))]


def compile_core(root: Path, build: Path) -> dict[str, Path]:
    """Compile the core of a source tree in a process of its own, unless that has been done.

    Returns the extension modules, by where they belong relative to `root`.

    Raises
    ------
    CalledProcessError
        If there is no compiler, or it refuses something; it has said so by then.
    """
    made = build / "made"
    paths = _extensions(made)
    sources = [Path(__file__), *(root / "vramlab").rglob("*.py")]
    newest_s = max(path.stat().st_mtime for path in sources)
    if len(paths) <= len(core(root)) or min(path.stat().st_mtime for path in paths) < newest_s:
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        subprocess.run([sys.executable, str(Path(__file__)), "--into", str(made)], cwd=root, check=True)
        paths = _extensions(made)
    return {path.relative_to(made).as_posix(): path for path in paths}


def _extensions(made: Path) -> list[Path]:
    return [path for path in made.rglob("*") if path.name.endswith(tuple(EXTENSION_SUFFIXES))]


def _run_compiler(made: Path) -> None:
    """Compile the core of the source tree in the working directory into `made`."""
    from mypyc.build import mypycify
    from setuptools import Distribution

    work = made.parent / "work"
    work.mkdir(parents=True, exist_ok=True)
    types = work / "mypy.ini"
    types.write_text(_TYPES, encoding="utf-8")
    options = [f"--config-file={types}", f"--cache-dir={work / 'types'}"]
    extensions = mypycify(
        [*options, *core(Path.cwd())], debug_level="0", target_dir=str(work), group_name="vramlab"
    )
    command = Distribution({"name": "vramlab", "ext_modules": extensions}).get_command_obj("build_ext")
    command.build_lib, command.build_temp = str(made), str(work)
    command.ensure_finalized()
    command.run()


def remove(root: Path) -> None:
    """Remove the extension modules of a checkout, so that the source is interpreted again."""
    for suffix in EXTENSION_SUFFIXES:
        for path in [*root.glob(f"vramlab__mypyc{suffix}"), *(root / "vramlab").rglob(f"*{suffix}")]:
            path.unlink()


class CompiledCore(BuildHookInterface):
    """Puts the compiled core into a wheel that is asked to have it."""

    def dependencies(self) -> list[str]:
        """What the build needs, beside hatchling."""
        return NEEDS if _asked_for() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say that the wheel is for this Python and system alone."""
        if version == "editable" or not _asked_for():
            return
        try:
            made = compile_core(Path(self.root), Path(self.root) / "build" / "compiled")
        except (OSError, subprocess.CalledProcessError) as error:
            self.app.display_warning(f"the core is not compiled, and the wheel is pure Python: {error}")
            return
        build_data["pure_python"], build_data["infer_tag"] = False, True
        build_data["force_include"].update({str(path): name for name, path in made.items()})


def _asked_for() -> bool:
    return os.environ.get(ASKED_FOR, "") not in ("", "0")


def main(arguments: list[str]) -> None:
    """Compile in place, take that back, or (``--into``) be the process that compiles."""
    if arguments[:1] == ["--into"]:
        _run_compiler(Path(arguments[1]))
        return
    remove(ROOT)
    if arguments != ["--remove"]:
        for name, path in compile_core(ROOT, ROOT / "build" / "compiled").items():
            shutil.copyfile(path, ROOT / name)


if __name__ == "__main__":
    main(sys.argv[1:])
