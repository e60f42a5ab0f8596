"""What results and configurations look like in a notebook: the figures stand there, and nothing unescaped."""

import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from vramlab.config.html import _TONES, Cell, html_table
from vramlab.config.loading import load_config
from vramlab.config.schema import ModelSpec
from vramlab.experiments.comparison import compare
from vramlab.experiments.replay import replay
from vramlab.traces.trace import Trace


class Table(HTMLParser):
    """Texts of the cells, row by row; fails on tags that are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.open = [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


@pytest.fixture
def run():
    inventory = {
        "<a>": ModelSpec(priority="medium", vram_size_mb=6, load_time_ms=100),
        "b": ModelSpec(priority="medium", vram_size_mb=6, load_time_ms=100),
    }
    config = load_config(
        None,
        [
            "total_memory_mb=810",
            "zones={'<pool>': {size_mb: 10}}",
            "fallback.cpu_fallback_enabled=false",
            "caching.enable_result_caching=false",
            "optimization.monitor=false",
        ],
    )
    frame = pd.DataFrame({"time_s": [0.0, 1.0, 2.0, 3.0], "model": ["<a>", "<a>", "b", "<a>"]})
    return Trace.from_frame(frame, "by hand"), config, inventory


def test_cells_are_escaped_and_toned():
    text = html_table(["<x>", "y"], [["<b>", Cell("&", "bad")]], "<caption>", "<note>")
    assert Table(text).rows == [["<x>", "y"], ["<b>", "&"]]
    assert not re.search(r"<(x|b|caption|note)>", text)
    assert "color:#D55E00" in text


def test_a_replay(run):
    rows = Table(replay(*run)._repr_html_()).rows
    assert rows[1][:6] == ["all", "4", "25.00 %", "75.00 %", "2", "0.3 s"]
    assert rows[2][0] == "<pool>"


def test_a_comparison(run):
    compared = compare(*run, policies=["lru", "fifo"])
    text = compared._repr_html_()
    rows = Table(text).rows
    assert [row[0] for row in rows] == [
        "policy",
        "lru",
        "fifo",
        "the specification's zones",
    ]
    assert rows[1][1:4] == ["25.00 %", "75.00 %", "0.3 s"]
    assert f"offline optimum: load cost {compared.optimum.load_cost_s:.1f} s" in text


def test_a_configuration(run):
    text = run[1]._repr_html_()
    assert Table(text).rows[1][:4] == ["<pool>", "10 MB", "any number", "aggressive_lru"]
    assert "810 MB card, 10 MB for models" in text


def test_decide_mode_has_no_latencies_to_show(run):
    for result in (replay(*run, mode="decide"), compare(*run, ["lru"], mode="decide")):
        header, row = Table(result._repr_html_()).rows[:2]
        assert [row[header.index(name)] for name in ("p50", "p95", "p99")] == ["–"] * 3
        assert f'{_TONES["strong"]}">–' not in result._repr_html_()
