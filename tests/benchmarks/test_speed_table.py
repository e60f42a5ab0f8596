"""The table of ``results/speed``: its rows still run, its peer is fair, and it is the one of the file."""

import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import simpy

from results.speed import remake, report, rows
from tests.benchmarks.workloads import SIMULATED, naive, simulated, simulated_config
from tests.simulation.naive import NaiveSimulator
from vramlab.cli.app import run
from vramlab.config.units import mib_to_bytes
from vramlab.engine.outcomes import Outcome
from vramlab.simulation.replaying import simulate

DATA = Path(__file__).parents[3] / "shared" / "data"
KINDS = {Outcome.HIT: 0, Outcome.COLD_START: 1, Outcome.WAIT: 2}
FIGURES = set(report.goals()["figure"])


@pytest.mark.parametrize("name", rows.INSIDE)
def test_a_ratio_is_measured(name):
    if name.startswith("decide"):
        pytest.importorskip("libcachesim", reason="the package libcachesim is not installed")
    document = rows.INSIDE[name](20, 1)
    figures = document["figures"]
    assert {figure.partition(".")[0] for figure in figures} <= FIGURES
    assert all(len(values) == 1 for values in figures.values())
    assert name.startswith("live") or all(values[0] > 0 for values in figures.values())
    if name in ("decide_lru", "decide_hits"):
        checks = document["checks"]
        assert checks["misses"] == pytest.approx(checks["peer's misses"], abs=1e-4)


@pytest.mark.parametrize("name", rows.COMMANDS)
def test_a_command_runs(name, tmp_path, monkeypatch, capsys):
    if reason := remake.why_not(name, DATA):
        pytest.skip(reason)
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{DATA}\n"))
    line = [word.replace(rows.OUT, str(tmp_path / "out")) for word in rows.COMMANDS[name](200, tmp_path)]
    capsys.readouterr()
    assert run(line) == 0
    said = capsys.readouterr().out
    assert name in FIGURES
    if "--json" in line:
        wanted = {"bound": 2400, "import_csv": 30_000, "import_azure": 19_500}
        assert json.loads(said)["requests"] == wanted[name]


@pytest.mark.parametrize("name", SIMULATED)
def test_the_naive_simulator_does_the_same_with_one_process_per_request(name, monkeypatch):
    trace, inventory, capacity_mb = simulated(name, 20)
    config = simulated_config(capacity_mb, "arrival", "serving.unload_time_ms=0")
    records = simulate(trace, config, inventory)
    begun = []
    process = simpy.Environment.process
    monkeypatch.setattr(
        simpy.Environment, "process", lambda env, story: begun.append(story) or process(env, story)
    )
    # Unloads take no time, as in tests/simulation/test_against_naive.py, which says why.
    peer = NaiveSimulator(trace, inventory, mib_to_bytes(capacity_mb), 1, 1, 0.0).run()
    assert len(begun) == len(trace) + 1  # the arrivals are one more
    assert [KINDS[outcome] for outcome in records.outcomes] == peer.kind.tolist()
    if name == "overloaded":
        # loads that were decided at one moment may take the channel in another order: same work, same end
        assert records.finish_s.mean() == pytest.approx(peer.finish_s.mean(), rel=1e-3)
        assert records.finish_s.max() == pytest.approx(peer.finish_s.max(), abs=1e-6)
    else:
        np.testing.assert_allclose(records.finish_s, peer.finish_s, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", SIMULATED)
def test_the_peer_is_as_loaded_as_the_table_says(name):
    trace, inventory, capacity_mb = simulated(name, 1 if name == "overloaded" else 3)
    peer = naive(trace, inventory, capacity_mb)
    ours = simulate(trace, simulated_config(capacity_mb, "arrival"), inventory)
    found = rows.equal({"arrival": ours, "backlog": ours, "naive": peer})
    for what in ("hits", "loads"):
        assert found[f"naive {what}"] == pytest.approx(found[what], abs=0.002 * len(trace))
    if name == "channel":
        assert found["channel busy"] == pytest.approx(0.4, abs=0.03)
    elif name == "overloaded":
        assert found["most that wait"] > 2000
    else:
        assert found["hits"] == pytest.approx(0.97 * len(trace), rel=0.01)


def test_a_process_is_charged_with_what_it_used():
    code = remake.Code("interpreted", remake.ROOT)
    text, little = remake.process(["-c", "print(1)"], code)
    _, much = remake.process(["-c", "x = bytearray(300 << 20); sum(range(10_000_000))"], code)
    assert text == "1\n"
    assert much.peak_mb > 300 > little.peak_mb
    assert much.cpu_s > little.cpu_s
    with pytest.raises(SystemExit, match="ZeroDivisionError"):
        remake.process(["-c", "1 / 0"], code)


def test_rows_without_their_data_are_named(tmp_path):
    assert remake.why_not("runs_500", tmp_path) == "no real trace (DATA=FOLDER)"
    (tmp_path / rows.REAL[-1]).touch()
    assert remake.why_not("runs_500", tmp_path) == ""


def test_the_table_of_the_page_is_the_file():
    page = (report.HERE / "README.md").read_text(encoding="utf-8")
    measured = pd.read_csv(report.HERE / "speed.csv")
    assert report.between(page, "table", report.table_of(measured)) == page
    found = json.loads((report.HERE / "environment.json").read_text(encoding="utf-8"))
    assert report.between(page, "machine", report.sentence(found)) == page
    assert set(measured["figure"].str.partition(".")[0]) <= FIGURES


def test_what_is_as_good_as_wanted_is_bold():
    orders = [f"simulate_overloaded{order}" for order in ("", ".backlog", ".arrival")]
    measured = pd.DataFrame(
        {
            "figure": ["help", "help", "help", "decide_lru", *orders],
            "code": ["before", "interpreted", "compiled", *(["interpreted"] * 4)],
            "value": [1.1, 0.31, 0.3, 0.6, 2.1, 2.2, 2.1],
        }
    )
    table = report.table_of(measured).splitlines()
    assert table[-1] == "| `vramlab --help` | 0.3 s | 0.9 s | 1.1 s | 0.31 s | **0.3 s** |"
    assert next(line for line in table if "decide`, LRU, over" in line).endswith(
        "| 0.5 | 0.127 |  | **0.6** |  |"
    )
    assert table[3].endswith("| 2 | 0.35 to 0.44 |  | **2.2 / 2.1** |  |")
    assert len(table) == len(report.goals()) + 2


def test_the_picture_is_one(tmp_path):
    report.draw(pd.read_csv(report.HERE / "speed.csv"), tmp_path / "speed.png")
    assert (tmp_path / "speed.png").stat().st_size > 10_000


def test_gain_is_how_many_times_as_good():
    goals = report.goals().set_index("figure", drop=False)
    assert report.gain(5.2, goals.loc["simulate_hits"], 2.6) == 2
    assert report.gain(0.3, goals.loc["help"], 0.9) == pytest.approx(3)
    assert re.match("[01] of 1 aims", report.headline([goals.loc["help"]], {("help", "compiled"): 0.3}))
