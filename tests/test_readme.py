"""What the README shows is what happens."""

import re
from pathlib import Path

import pytest

from vramlab.allocator.states import state_diagram
from vramlab.cli.app import run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = re.findall(r"^vramlab (?!COMMAND)(.+)$", README, re.MULTILINE)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A folder where the README's relative paths lead to the bundled files, and what is written is new."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("config", "traces"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def test_the_state_diagram_is_that_of_the_table():
    assert f"```mermaid\n{state_diagram()}\n```" in README


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python_blocks_run(number, clone, monkeypatch, capsys):
    monkeypatch.chdir(clone)
    exec(compile(PYTHON[number], f"README block {number}", "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out.strip()


def test_commands_run_in_the_order_in_which_they_stand(clone, monkeypatch, capsys):
    monkeypatch.chdir(clone)
    assert len(COMMANDS) >= 7
    for command in COMMANDS:
        assert run(command.split()) == 0, command
        assert capsys.readouterr().out.strip(), command


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target
