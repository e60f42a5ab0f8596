"""Build the wheels into dist: ``vramlab``, and ``vramlab-sim``, without what only live sessions need.

An extra can add dependencies and never take one away, and ``pip install vramlab`` has to serve live. So who
only simulates, and wants no 256 MB of ONNX Runtime for CUDA, installs another distribution of the same
modules; its extra ``live`` brings the rest. Both in one environment would overwrite each other: install one.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
LIVE = ("onnxruntime-gpu", "onnxruntime", "onnx", "nvidia-ml-py")


def light(pyproject: str) -> str:
    """``pyproject.toml`` of vramlab-sim."""
    start = pyproject.index("dependencies = [")
    end = pyproject.index("\n]\n", start)
    lines = pyproject[start:end].splitlines()
    live = [line for line in lines if re.match(rf'\s*"({"|".join(LIVE)})[>=]', line)]
    kept = "\n".join(line for line in lines if line not in live)
    assert len(live) == len(LIVE), "a dependency of live sessions that is not known here"
    text = pyproject[:start] + kept + pyproject[end:]
    text = text.replace('name = "vramlab"', 'name = "vramlab-sim"').replace('"vramlab[', '"vramlab-sim[')
    extra = "\n".join(["[project.optional-dependencies]", "live = [", *live, "]"])
    return text.replace("[project.optional-dependencies]", extra, 1)


def build(source: Path) -> None:
    """Build the wheel of a source tree."""
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--outdir", DIST, source], check=True)


def main() -> None:
    """Build both, and check what they say of themselves."""
    shutil.rmtree(DIST, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "build", "--sdist", "--outdir", folder, ROOT], check=True)
        with tarfile.open(next(Path(folder).glob("*.tar.gz"))) as archive:
            archive.extractall(folder, filter="data")
        source = next(path for path in Path(folder).iterdir() if path.is_dir())
        build(source)
        pyproject = source / "pyproject.toml"
        pyproject.write_text(light(pyproject.read_text(encoding="utf-8")), encoding="utf-8")
        build(source)
    wheels = sorted(DIST.glob("*.whl"))
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *wheels], check=True)


if __name__ == "__main__":
    main()
