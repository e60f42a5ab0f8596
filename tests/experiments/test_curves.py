"""Hit rate over capacity: the one pass of LRU against replays, and samples against the whole."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulation.workloads import models
from vramlab.analysis.curves import lru, lru_curve
from vramlab.cli.app import run
from vramlab.config.errors import InputError
from vramlab.config.plain import plain_memory, plain_models
from vramlab.config.schema import ModelSpec, VramConfig
from vramlab.config.units import MIB
from vramlab.engine.outcomes import Outcome
from vramlab.experiments.case import Case
from vramlab.experiments.curves import Sampling, curve, even_capacities
from vramlab.simulation.decide import decide
from vramlab.traces.reuse import reuse_bytes
from vramlab.traces.synthetic import zipf_trace
from vramlab.traces.trace import Trace

CONFIG = VramConfig()


def inventory_of(sizes_mb):
    return {
        name: ModelSpec(priority="medium", vram_size_mb=size, load_time_ms=100 * size)
        for name, size in sizes_mb.items()
    }


def trace_of(names):
    return Trace.from_frame(pd.DataFrame({"time_s": np.arange(float(len(names))), "model": list(names)}))


def test_bytes_between_uses_by_hand():
    #      a   b   a  c      b          a           a
    # sizes 1, 2, 4: the second b needs b, c, a; the third a needs a, c, b
    codes = np.array([0, 1, 0, 2, 1, 0, 0])
    assert reuse_bytes(codes, np.array([1, 2, 4])).tolist() == [-1, -1, 3, -1, 7, 7, 1]
    assert reuse_bytes(codes[:1], np.array([1])).tolist() == [-1]


SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=6)


@given(SIZES, st.data())
def test_one_pass_is_the_replay_at_every_capacity_also_where_models_do_not_fit(sizes, data):
    names = "abcdef"[: len(sizes)]
    requests = data.draw(st.text(names, min_size=1, max_size=60))
    trace, inventory = trace_of(requests), inventory_of(dict(zip(names, sizes, strict=True)))
    capacities = [MIB * size for size in range(1, sum(sizes) + 2)]
    table = lru_curve(trace, inventory, capacities)
    replayed = [lru(trace, inventory, capacity) for capacity in capacities]
    assert table["hit_rate"].tolist() == [rate for rate, _ in replayed]
    assert table["load_cost_s"].tolist() == pytest.approx([cost for _, cost in replayed])
    # nor does the allocator say otherwise
    for capacity in capacities[:: len(capacities) // 3 + 1]:
        config = plain_memory(CONFIG, capacity).model_copy(
            update={"scoring": CONFIG.scoring.model_copy(update={"policy": "lru"})}
        )
        outcomes = decide(trace, config, inventory).outcomes
        at = capacities.index(capacity)
        assert (outcomes == Outcome.HIT).sum() / len(trace) == table["hit_rate"][at]


@pytest.fixture(scope="module")
def many():
    """2,000 models, 60,000 requests."""
    rng = np.random.default_rng(5)
    inventory = models(rng, 2000)
    trace = zipf_trace(rng, models=list(inventory), requests=60_000, rate_per_s=5.0, exponent=0.7)
    return trace, inventory


def few():
    rng = np.random.default_rng(6)
    inventory = models(rng, 12)
    trace = zipf_trace(rng, models=list(inventory), requests=20_000, rate_per_s=5.0, exponent=0.8)
    return trace, inventory


def test_twenty_points_by_default_and_a_policy_is_replayed_at_each():
    trace, inventory = few()
    table = curve(Case(trace, CONFIG, inventory), "gdsf")
    assert len(table) == 20
    assert table["method"].unique().tolist() == ["replayed, exact"]
    assert table["capacity_bytes"].iloc[-1] == sum(spec.footprint_bytes for spec in inventory.values())
    assert table["hit_rate"].iloc[-1] == 1 - 12 / 20_000  # all fit: each is loaded once
    loads_s = sum(spec.load_s for spec in inventory.values())
    assert table["load_cost_s"].iloc[-1] == pytest.approx(loads_s)
    fit = table["capacity_bytes"] >= max(spec.footprint_bytes for spec in inventory.values())
    exact = curve(Case(trace, CONFIG, inventory), "lru")
    # more memory never costs LRU anything once every model fits; gdsf has no such property
    assert exact.loc[fit, "load_cost_s"].is_monotonic_decreasing
    assert exact["method"].unique().tolist() == ["one pass, exact"]
    assert (table["load_cost_s"] <= exact["load_cost_s"] * 1.02).all()


def test_processes_give_the_same():
    trace, inventory = few()
    one = curve(Case(trace, CONFIG, inventory), "lfu", [200 * MIB, 400 * MIB])
    pd.testing.assert_frame_equal(
        one, curve(Case(trace, CONFIG, inventory), "lfu", [200 * MIB, 400 * MIB], jobs=2)
    )


@pytest.mark.parametrize("policy", ["fifo", "gdsf"])
def test_samples_of_models_are_right_within_their_error(many, policy):
    trace, inventory = many
    total = sum(spec.footprint_bytes for spec in inventory.values())
    capacities = [total // 10, total // 4, total // 2]
    whole = curve(Case(trace, CONFIG, inventory), policy, capacities)
    sampled = curve(Case(trace, CONFIG, inventory, seed=1), policy, capacities, Sampling(0.1))
    assert (sampled["hit_rate_error"] > 0).all()
    assert (sampled["hit_rate_error"] < 0.05).all()
    assert (abs(sampled["hit_rate"] - whole["hit_rate"]) < 4 * sampled["hit_rate_error"]).all()
    assert (abs(sampled["load_cost_s"] - whole["load_cost_s"]) < 4 * sampled["load_cost_error_s"]).all()


def test_samples_of_time_are_right_within_their_error_with_a_dozen_models():
    trace, inventory = few()
    capacities = [300 * MIB, 600 * MIB, 900 * MIB]
    whole = curve(Case(trace, CONFIG, inventory), "fifo", capacities)
    sampled = curve(Case(trace, CONFIG, inventory), "fifo", capacities, Sampling(0.4, "time"))
    off = abs(sampled["hit_rate"] - whole["hit_rate"])
    assert (off < 4 * sampled["hit_rate_error"] + sampled["hit_rate_missed"]).all()
    assert (sampled["hit_rate_error"] > 0).all()


def test_models_that_no_sample_has_room_for_are_said_not_to_be_known(many):
    trace, inventory = many
    table = curve(Case(trace, CONFIG, inventory), "fifo", [300 * MIB, 90_000 * MIB], Sampling(0.1))
    assert np.isnan(table["hit_rate"][0])
    assert table["hit_rate"][1] > 0


def test_samples_that_would_say_nothing_are_refused(many):
    trace, inventory = few()
    with pytest.raises(InputError, match=r"0.1 of 12 models.*at least 100 models.*time"):
        curve(Case(trace, CONFIG, inventory), "fifo", sampling=Sampling(0.1))
    with pytest.raises(InputError, match=r"0.05 of 20,000 requests.*at least 240 requests"):
        curve(Case(trace, CONFIG, inventory), "fifo", sampling=Sampling(0.05, "time"))
    with pytest.raises(InputError, match=r"found 1.5, expected more than 0"):
        curve(Case(many[0], CONFIG, many[1]), "fifo", sampling=Sampling(1.5))


def test_nothing_has_a_right_to_stay_in_a_plain_memory():
    spec = ModelSpec(priority="critical", vram_size_mb=1, load_time_ms=1, always_loaded=True, zone="x")
    plain = plain_models({"a": spec})["a"]
    assert (plain.priority, plain.always_loaded, plain.zone) == ("high", False, None)


def test_steps_are_even():
    trace, inventory = trace_of("ab"), inventory_of({"a": 3, "b": 7, "unused": 50})
    assert even_capacities(trace, inventory, 5) == [MIB * size for size in (2, 4, 6, 8, 10)]


# -- the command -----------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    trace = tmp_path / "trace.csv"
    trace.write_text("time_s,model\n" + "".join(f"{i},{'abac'[i % 4]}\n" for i in range(40)))
    inventory = tmp_path / "models.yaml"
    specs = "".join(f"    {n}: {{priority: low, vram_size_mb: {s}, load_time_ms: 10}}\n" for n, s in zip(
        "abc", (1, 2, 4), strict=True))  # fmt: skip
    inventory.write_text("models:\n  all:\n" + specs)
    return trace, inventory


def test_command(files, tmp_path, capsys):
    trace, inventory = files
    plot = tmp_path / "curve.png"
    arguments = ["curve", str(trace), "--models", str(inventory), "--policy"]
    assert run([*arguments, "fifo", "--capacities", "3,7", "--json", "--plot", str(plot)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["method"] == "replayed, exact"
    assert [row["capacity_bytes"] for row in document["rows"]] == [3 * MIB, 7 * MIB]
    assert document["rows"][1]["hit_rate"] == 37 / 40
    assert plot.exists()
    assert run([*arguments, "lru"]) == 0
    assert "one pass, exact" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (["--policy", "lur"], ["scoring.policy", "'lru'?"]),
        (["--capacities", "3,x"], ["--capacities", "3,x", "MB"]),
        (["--capacities", "0"], ["--capacities", "0", "more than 0"]),
        (["--policy", "fifo", "--sample", "0.1"], ["--sample", "3 models", "--sample-by time"]),
        (["--policy", "fifo", "--sample-by", "day"], ["--sample-by", "day"]),
    ],
)
def test_bad_input_is_one_line_and_status_2(files, capsys, more, parts):
    assert run(["curve", str(files[0]), "--models", str(files[1]), *more]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    for part in parts:
        assert part in captured.err
