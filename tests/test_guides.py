"""Every code block of the guides is what a reader would run, in the order in which it stands.

A block that follows a line ending in a file's name (`` `mine.yaml`: ``) is that file; ``python`` runs, all
blocks of a guide in one namespace; ``console`` is the command line, in this process; ``bash`` is bash; each
line of ``text`` must be in the output of the block before. Other languages are not allowed: nobody would run
them.
"""

import asyncio
import contextlib
import io
import os
import re
import shlex
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from vramlab.cli.app import run
from vramlab.config import plugins

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "notebooks" / "guides"
GUIDES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
FENCE = re.compile(r"(?P<before>[^\n]*)\n\n?```(?P<language>\w*)\n(?P<code>.*?)```", re.DOTALL)


class Block(NamedTuple):
    language: str
    code: str
    file: str | None


def blocks_of(text: str) -> list[Block]:
    found = []
    for match in FENCE.finditer(text):
        named = re.search(r"`([\w./-]+\.\w+)`:$", match["before"].strip())
        found.append(Block(match["language"], match["code"], named and named[1]))
    return found


def commands_of(code: str) -> list[list[str]]:
    lines = code.replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


class Reader:
    """Somebody who works through a guide in a fresh clone."""

    def __init__(self, folder: Path) -> None:
        self.namespace = {"__name__": "guide"}
        self.folder = folder
        self.output = ""

    def follow(self, block: Block) -> None:
        if block.language == "text":
            shown = " ".join(self.output.split())
            for line in block.code.splitlines():
                assert " ".join(line.split()) in shown, f"{line!r} is not in\n{self.output}"
        elif block.file is not None:
            path = self.folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.code, encoding="utf-8")
        else:
            self.output = {"python": self.python, "console": self.console, "bash": self.bash}[block.language](
                block.code
            )

    def python(self, code: str) -> str:
        with contextlib.redirect_stdout(io.StringIO()) as shown:
            exec(compile(code, "block of a guide", "exec"), self.namespace)
        return shown.getvalue()

    def console(self, code: str) -> str:
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
            for program, *arguments in commands_of(code):
                assert program == "vramlab", "a console block is of vramlab's commands; others are bash"
                status = run(arguments)
                assert status == 0, f"vramlab {shlex.join(arguments)}\n{out.getvalue()}"
        return out.getvalue()

    def bash(self, code: str) -> str:
        for line in re.findall(r"^pip install .*$", code, re.MULTILINE):
            self.install(line.split("./")[1])
            code = code.replace(line, "")
        code = code.replace("8786", str(free_port()))
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", f"set -euo pipefail\n{code}"], capture_output=True, text=True, timeout=120,
            env=os.environ | {"PATH": path},
        )  # fmt: skip
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def install(self, package: str) -> None:
        """What ``pip install ./package`` leaves behind, without network: modules, and their record."""
        project = tomllib.loads((self.folder / package / "pyproject.toml").read_text())["project"]
        site = self.folder
        for module in (self.folder / package).glob("*.py"):
            (site / module.name).write_text(module.read_text())
        record = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        record.mkdir()
        (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 1\n")
        lines = []
        for group, names in project["entry-points"].items():
            lines += [f"[{group}]", *(f"{name} = {value}" for name, value in names.items())]
        (record / "entry_points.txt").write_text("\n".join(lines))
        plugins._installed.cache_clear()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def reader(tmp_path, monkeypatch):
    for name in ("config", "traces"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    before = set(sys.modules)
    yield Reader(tmp_path)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
    plugins._installed.cache_clear()
    asyncio.set_event_loop(None)


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_a_guide_does_what_it_says(guide, reader):
    blocks = blocks_of(guide.read_text(encoding="utf-8"))
    assert len(blocks) == guide.read_text(encoding="utf-8").count("```") / 2
    if guide.stem != "words":
        assert sum(block.language in ("python", "console", "bash") for block in blocks) >= 2
    for block in blocks:
        reader.follow(block)


def test_the_reader_notices(reader):
    """The harness can fail."""
    reader.follow(Block("console", "vramlab --version", None))
    with pytest.raises(AssertionError, match="is not in"):
        reader.follow(Block("text", "9.9.9", None))
    with pytest.raises(AssertionError, match="no such file"):
        reader.follow(Block("console", "vramlab replay nothing.csv", None))
    with pytest.raises(ZeroDivisionError):
        reader.follow(Block("python", "1 / 0", None))
    with pytest.raises(AssertionError):
        reader.follow(Block("bash", "false", None))
    with pytest.raises(KeyError):
        reader.follow(Block("yaml", "a: 1", None))


@pytest.mark.parametrize("page", [FOLDER / "README.md", *GUIDES], ids=lambda path: path.stem)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), target


def test_every_guide_asks_a_question_and_is_in_the_list():
    listed = (FOLDER / "README.md").read_text(encoding="utf-8")
    for guide in GUIDES:
        title = guide.read_text(encoding="utf-8").splitlines()[0]
        assert title.startswith("# ")
        assert title.endswith("?")
        assert f"[{title[2:]}]({guide.name})" in listed
