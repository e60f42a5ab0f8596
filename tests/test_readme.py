"""What the README shows is there; that it works is told by test_installed.py."""

import re
from pathlib import Path

import pytest

from vramlab.allocator.states import state_diagram

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
TARGETS = re.findall(r"^make (\S+)", README, re.MULTILINE)
FIRST_SCREEN = README.split("## Your own CSV")[0].splitlines()


def test_the_first_screen_is_one_figure_two_commands_and_five_lines():
    assert len(FIRST_SCREEN) <= 40
    shown = "\n".join(FIRST_SCREEN)
    assert len(re.findall(r"^!\[", shown, re.MULTILINE)) == 1
    assert len(re.findall(r"^make ", shown, re.MULTILINE)) == 2
    assert len([line for line in PYTHON[0].splitlines() if line]) == 5
    assert PYTHON[0] in shown


def test_targets_are_those_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {"demo", "lab"} <= set(TARGETS)
    for target in TARGETS:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_state_diagram_is_that_of_the_table():
    assert f"```mermaid\n{state_diagram()}\n```" in README


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "results/README.md"])
def test_links_lead_somewhere(page):
    path = ROOT / page
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert target.startswith("http") or (path.parent / target).exists(), target
