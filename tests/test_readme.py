"""What the README shows is what happens."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vramlab.allocator.states import state_diagram
from vramlab.cli.app import run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = re.findall(r"^(?:\.venv/bin/)?vramlab (.+)$", README, re.MULTILINE)
TARGETS = re.findall(r"^make (\S+)", README, re.MULTILINE)
FIRST_SCREEN = README.split("## Your own CSV")[0].splitlines()


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A folder where the README's relative paths lead to the bundled files, and what is written is new."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("config", "traces"):
        (folder / name).symlink_to(ROOT / name)
    rng = np.random.default_rng(0)
    calls = pd.DataFrame(
        {"when": rng.uniform(0, 600, 500), "endpoint": rng.choice(list("abcdefghijklmnop"), 500)}
    )
    calls.sort_values("when").to_csv(folder / "calls.csv", index=False)
    return folder


def test_the_first_screen_is_one_figure_two_commands_and_five_lines():
    assert len(FIRST_SCREEN) <= 40
    shown = "\n".join(FIRST_SCREEN)
    assert len(re.findall(r"^!\[", shown, re.MULTILINE)) == 1
    assert len(re.findall(r"^make ", shown, re.MULTILINE)) == 2
    assert len([line for line in PYTHON[0].splitlines() if line]) == 5
    assert PYTHON[0] in shown


def test_targets_are_those_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {"demo", "lab", "setup"} <= set(TARGETS)
    for target in TARGETS:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


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
        said = capsys.readouterr()
        assert (said.out + said.err).strip(), command


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "results/README.md"])
def test_links_lead_somewhere(page):
    path = ROOT / page
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert target.startswith("http") or (path.parent / target).exists(), target
