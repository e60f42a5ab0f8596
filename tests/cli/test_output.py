"""Tables for people: nothing in them is cut, however narrow the terminal."""

import io
import re

import pytest
from rich.console import Console

from vramlab.cli.monitor import view
from vramlab.cli.output import print_table, stacked
from vramlab.runs.status import ModelStatus, Status, ZoneStatus


def shown(width, *objects, table=None):
    """What a terminal of that width shows."""
    console = Console(
        file=io.StringIO(),
        force_terminal=True,
        width=width,
        highlight=False,
        color_system=None,
        soft_wrap=True,
    )
    if table is not None:
        print_table(*table, console)
    console.print(*objects)
    return console.file.getvalue()


HEADER = ["policy", "hit rate", "with CPU answers", "zones.flexible.size_mb", "p95"]
ROWS = [["seed_fixed", "88.40 %", "9.6 s", "1,024", "477.9 ms"], ["lru", "8.10 %", "10.1 s", "512", "-"]]


@pytest.mark.parametrize("width", [200, 80, 60, 40, 30])
def test_no_cell_is_cut_and_no_line_is_too_long(width):
    text = shown(width, table=("a title", HEADER, ROWS))
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    for cell in (cell for row in ROWS for cell in row):
        assert cell in text
    letters = re.sub(r"[^a-z._]", "", text)
    for word in ("hit", "rate", "answers", "zones.", "flexible.", "size_"):
        assert word in letters
    # what comes below says again whose it is
    assert text.count("seed_fixed") == text.count("┏") >= 1
    assert text.count("a title") == 1


def test_a_long_value_takes_several_lines():
    rows = [["method", "a linear program over reuse intervals, and its prices"], ["requests", "743"]]
    text = shown(40, table=("bound", ["", ""], rows))
    for word in rows[0][1].split():
        assert word in text
    assert "┏" not in text, "no line of empty headings"


def test_headings_break_at_spaces_dots_and_underscores():
    assert stacked("with CPU answers", 8) == "with CPU\nanswers"
    assert stacked("zones.flexible.size_mb", 12) == "zones.\nflexible.\nsize_mb"
    assert stacked("p95", 1) == "p95"
    assert stacked("", 4) == ""


@pytest.mark.parametrize(("width", "left_out"), [(80, {"priority", "under"}), (140, set())])
def test_the_monitor_is_readable_on_a_narrow_terminal(width, left_out):
    names = ["AntiSpoofing_print-replay_1.5_128.onnx", "arcface_r100.onnx"]
    models = [
        ModelStatus(name, "resident", "critical", "high_priority", 249 * 2**20, 19312.5, 12.25, 4321, 7)
        for name in names
    ]
    zones = [ZoneStatus("high_priority", 2**31, 2**30, 2**30, 2, 10)]
    status = Status(
        time_s=12.0, device="cpu-emulated", memory_total_bytes=2**32, memory_used_bytes=2**31,
        budget_bytes=2**32, held_bytes=2**30, outcomes={"hit": 9}, under_way=7, waiting_for_gpu=0,
        waiting_for_cpu=0, waiting_in_line=0, loads=2, failed_loads=0, evictions=0,
        zones=zones, models=models,
    )  # fmt: skip
    text = shown(width, view(status, width))
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    assert "models in use 0" in " ".join(text.split())
    for word in ("arcface_r100.onnx", "resident", "high_priority", "249 MB", "1.93e+04", "12.2 s", "2 of 10"):
        assert word in text
    headings = text[text.rindex("┏") : text.rindex("┡")]
    for word in ("priority", "under"):
        assert (word in headings) != (word in left_out)
