"""The results that are cited are those of this code."""

import re
import runpy
from pathlib import Path

import pandas as pd
import pytest

import vramlab

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
remake = runpy.run_path(str(RESULTS / "remake.py"))


def test_the_figure_of_the_readme_shows_what_comes_out_today():
    kept = pd.read_csv(RESULTS / "policies_forty_models.csv").set_index("policy")
    trace, scenario = ROOT / "traces/forty_models.csv.gz", ROOT / "config/scenarios/forty_models.yaml"
    today = vramlab.compare(trace, scenario, policies=["lru", "decayed"], overrides=["serving.order=arrival"])
    for row in today.rows:
        for key in ("hit_rate", "loads", "evictions", "load_cost_s", "gap_closed"):
            assert row[key] == pytest.approx(kept.loc[row["policy"], key], rel=1e-5), (row["policy"], key)
    assert today.optimum.load_cost_s == pytest.approx(kept.loc["offline optimum", "load_cost_s"], rel=1e-5)


def test_the_table_of_the_readme_is_the_file():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    kept = pd.read_csv(RESULTS / "real_trace.csv")
    for name, part in kept.groupby("policy"):
        row = re.search(rf"^\| `?{re.escape(name)}`? \|.*$", text, re.MULTILINE)[0]
        costs = [float(cost.replace(",", "")) for cost in re.findall(r"([\d,]+) s ", row)]
        assert costs == pytest.approx(list(part["load_cost_s"]), abs=1)


def test_the_latencies_of_the_readme_are_those_of_the_file():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = remake["latency_rows"](pd.read_csv(RESULTS / "scheduling" / "real_trace.csv"))
    assert len(rows) == 5
    assert all(row in text for row in rows)


def test_rows_are_replaced_where_they_stand(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("| a | b |\n|---|--:|\n| `lru` | 1 |\n| `lru_k` | 2 |\n\ntext\n")
    remake["update_rows"](page, ["| `lru` | 3 |"], keys=1)
    assert page.read_text() == "| a | b |\n|---|--:|\n| `lru` | 3 |\n| `lru_k` | 2 |\n\ntext\n"
    with pytest.raises(SystemExit, match="not one row"):
        remake["update_rows"](page, ["| `lfu` | 3 |"], keys=1)


def test_it_says_what_changed(capsys):
    old, new = {RESULTS / "a.csv": b"x\n1\n2\n"}, {RESULTS / "a.csv": b"x\n1\n3\n", RESULTS / "b.png": b"!"}
    remake["say_changes"](old, new)
    said = capsys.readouterr().out
    assert "results/a.csv: 2 lines\n    -2\n    +3\n" in said
    assert "results/b.png: new" in said
    remake["say_changes"](new, new)
    assert capsys.readouterr().out == "nothing changed\n"


def test_the_servers_of_the_readme_are_those_of_the_file():
    made = runpy.run_path(str(RESULTS / "servers" / "remake.py"))
    table = pd.read_csv(RESULTS / "servers" / "servers.csv")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(row in text for row in made["readme_rows"](table))
    page = (RESULTS / "servers" / "README.md").read_text(encoding="utf-8")
    assert all(row in page for row in made["tables"](table))
    assert all(row in page for row in made["approximations"]())
    assert all(
        row in page for row in made["exported_rows"](pd.read_csv(RESULTS / "servers" / "exported.csv"))
    )


def test_of_servers_that_refuse_nobody_none_beats_the_default():
    table = pd.read_csv(RESULTS / "servers" / "servers.csv")
    for _, part in table.groupby("memory_mb"):
        ours = part[part["server"] == "vramlab"].iloc[0]
        others = part[(part["refused"] == 0) & ~part["server"].isin(["vramlab", "unlimited memory"])]
        assert len(others) >= 7
        assert (others["mean_s"] > ours["mean_s"]).all()
        assert (others["p99_s"] > ours["p99_s"]).all()
