"""A fitted spec makes twins that hit and miss as the original does, and come as it does."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vramlab.traces.describe import describe
from vramlab.traces.fit import fit, twin_names
from vramlab.traces.generate import generate
from vramlab.traces.importers.genai_2026 import genai_2026_inventory, import_genai_2026
from vramlab.traces.spec import make_spec, spec_yaml
from vramlab.traces.trace import Trace

REAL = Path(__file__).resolve().parents[3] / "shared/data/genai_2026_requests.csv.gz"


def lru_hit_rate(trace, sizes, capacity):
    """By the book, and by bytes: nothing in the package is used."""
    resident, used, hits = OrderedDict(), 0, 0
    for name in trace.frame["model"]:
        if name in resident:
            resident.move_to_end(name)
            hits += 1
            continue
        while used + sizes[name] > capacity:
            used -= resident.popitem(last=False)[1]
        resident[name] = sizes[name]
        used += sizes[name]
    return hits / len(trace)


@pytest.mark.skipif(not REAL.exists(), reason=f"the real trace is not at {REAL}")
def test_twins_of_the_real_trace_have_its_hit_rate_curve():
    trace, _ = import_genai_2026(REAL)
    sizes = {name: spec.footprint_bytes for name, spec in genai_2026_inventory(trace).items()}
    spec = fit(trace)
    twins = [generate(spec, seed) for seed in range(3)]
    twin_sizes = {twin: sizes[name] for name, twin in twin_names(trace).items()}
    for capacity_gib in (8, 12, 16, 20, 24, 32, 48, 64, 96, 128, 256):
        capacity = capacity_gib * 2**30
        original = lru_hit_rate(trace, sizes, capacity)
        for twin in twins:
            assert lru_hit_rate(twin, twin_sizes, capacity) == pytest.approx(original, abs=0.03)
    for twin in twins:
        assert len(twin) == len(trace)
        assert twin.duration_s == pytest.approx(trace.duration_s, rel=0.1)
        assert describe(twin).burstiness == pytest.approx(describe(trace).burstiness, rel=0.2)
        assert np.corrcoef(describe(twin).daily, describe(trace).daily)[0, 1] > 0.95


def made(**stream):
    return generate(make_spec({"seed": 5, "requests": 20_000, "streams": [{"rate_per_s": 2, **stream}]}))


def curve(trace):
    return np.resize(describe(trace).lru_hit_rates, 20)


def test_independent_requests_need_no_reuse_and_are_found_to_be_so():
    trace = made(models=20, exponent=1.1)
    spec = fit(trace)
    assert sum(rule.probability for rule in spec.streams[0].reuse) < 0.06
    assert curve(generate(spec)) == pytest.approx(curve(trace), abs=0.02)


def test_reuse_is_found_again():
    trace = made(models=20, exponent=0.6, reuse=[{"probability": 0.5, "lags": [4, 7]}])
    found = {rule.lags: rule.probability for rule in fit(trace).streams[0].reuse}
    assert found[4, 7] == pytest.approx(0.5, abs=0.08)
    assert sum(found.values()) - found[4, 7] < 0.1
    assert curve(generate(fit(trace))) == pytest.approx(curve(trace), abs=0.03)


def test_rate_burstiness_and_labels_are_found_again():
    trace = made(
        models=5,
        burstiness=3,
        items={1: 3, 4: 1},
        requesters={"distinct": 30, "exponent": 1.0, "share": 0.6},
        priority="high",
    )
    stream = fit(trace).streams[0]
    assert stream.rate_per_s == pytest.approx(2, rel=0.05)
    assert stream.burstiness == pytest.approx(3, rel=0.05)
    assert stream.cycle is None
    assert stream.items[4] / stream.items[1] == pytest.approx(1 / 3, rel=0.05)
    assert stream.requesters.distinct == 30
    assert stream.requesters.exponent == pytest.approx(1, abs=0.05)
    assert stream.requesters.share == pytest.approx(0.6, abs=0.02)
    assert stream.priority == "high"
    assert stream.input_keys is None


def test_cycle_is_found_again():
    daily = [1] * 8 + [3] * 8 + [2] * 8
    weekly = [1, 1, 1, 1, 1, 0.5, 0.25]
    stream = {"rate_per_s": 0.05, "models": 3, "cycle": {"daily": daily, "weekly": weekly}}
    spec = make_spec({"duration_s": 28 * 86_400, "decimals": 3, "streams": [stream]})
    found = fit(generate(spec)).streams[0]
    assert np.array(found.cycle.daily) / np.mean(found.cycle.daily) == pytest.approx(
        np.array(daily) / 2, rel=0.08
    )
    assert np.array(found.cycle.weekly)[5:] / found.cycle.weekly[0] == pytest.approx([0.5, 0.25], rel=0.1)
    assert found.burstiness == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("times", "models"),
    [([3.0], "a"), ([1.0, 1.0], "ab"), ([0.0, 1.0, 1e9], "aba"), (np.arange(40.0), "a" * 40)],
    ids=["one", "all at once", "billion-second gap", "one model"],
)
def test_odd_traces_have_twins(times, models):
    trace = Trace.from_frame(pd.DataFrame({"time_s": times, "model": list(models)}))
    spec = fit(trace)
    twin = generate(spec)
    assert len(twin) == len(trace)
    assert set(twin.model_names) <= set(twin_names(trace).values())
    assert not set(twin.model_names) & set(trace.model_names)
    assert fit(trace) == spec
    assert spec_yaml(spec).startswith("title: a twin\n")
