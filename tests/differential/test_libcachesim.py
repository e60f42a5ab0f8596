"""Decide mode against libCacheSim, which shares no code with us: the same misses, to the last request.

One zone, no retention, one priority, no fallback to the CPU, every miss admitted: a plain cache. libCacheSim
counts misses over the same requests, with sizes in bytes.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.allocator.building import a_config
from vramlab.allocator.policies import POLICIES
from vramlab.allocator.policies.lru_k import LRUK
from vramlab.config.schema import ModelSpec
from vramlab.config.units import MIB
from vramlab.engine.outcomes import Outcome
from vramlab.simulation.decide import decide
from vramlab.traces.importers.genai_2026 import genai_2026_inventory, import_genai_2026
from vramlab.traces.synthetic import zipf_trace

peer = pytest.importorskip("libcachesim", reason="the package libcachesim is not installed")

REAL = Path(__file__).resolve().parents[3] / "shared/data/genai_2026_requests.csv.gz"
needs_real = pytest.mark.skipif(not REAL.exists(), reason=f"the real trace is not at {REAL}")


class Workload:
    """A trace and an inventory, for us and, as a CSV file, for libCacheSim."""

    def __init__(self, trace, inventory, folder):
        self.trace, self.inventory = trace, inventory
        sizes = np.array([inventory[name].footprint_bytes for name in trace.model_names])
        self.bytes = int(sizes.sum())
        table = pd.DataFrame(
            {
                "time": np.arange(len(trace)),
                "id": trace.model_codes + 1,  # an id must not be 0
                "size": sizes[trace.model_codes],
            }
        )
        self.path = str(folder / "trace.csv")
        table.to_csv(self.path, index=False)

    def our_misses(self, policy, capacity_mb, **settings):
        more = {"cpu_fallback_enabled": False}
        config = a_config(
            {"flexible": {"size_mb": capacity_mb}},
            scoring={"policy": policy, **settings.pop("scoring", {})},
            fallback=more,
            **settings,
        )
        records = decide(self.trace, config, self.inventory)
        assert set(np.unique(records.outcomes)) <= {Outcome.HIT, Outcome.COLD_START}
        return int((records.outcomes == Outcome.COLD_START).sum())

    def their_misses(self, cache, capacity_mb, **settings):
        options = peer.ReaderInitParam(
            has_header=True,
            has_header_set=True,
            delimiter=",",
            obj_id_is_num=True,
            obj_id_is_num_set=True,
        )
        options.time_field, options.obj_id_field, options.obj_size_field = 1, 2, 3
        reader = peer.TraceReader(
            trace=self.path, trace_type=peer.TraceType.CSV_TRACE, reader_init_params=options
        )
        ratio, _ = cache(capacity_mb * MIB, **settings).process_trace(reader)
        return round(ratio * len(self.trace))


def synthetic(folder, seed, sizes_mb, requests=20_000, **shape):
    rng = np.random.default_rng(seed)
    names = [f"m{i}" for i in range(100)]
    inventory = {
        name: ModelSpec(priority="medium", vram_size_mb=int(size), load_time_ms=100)
        for name, size in zip(names, rng.choice(sizes_mb, size=100), strict=True)
    }
    trace = zipf_trace(rng, models=names, requests=requests, rate_per_s=10.0, **shape)
    return Workload(trace, inventory, folder)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    sizes = range(1, 900)
    return synthetic(tmp_path_factory.mktemp("mixed"), 1, sizes, drift_period_s=100.0)


@pytest.fixture(scope="module")
def equal(tmp_path_factory):
    # a power of two: sums of 1 / size are exact, and equal values are equal on both sides
    return synthetic(tmp_path_factory.mktemp("equal"), 2, [8], drift_period_s=200.0)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    trace, _ = import_genai_2026(REAL)[:2]
    return Workload(trace, genai_2026_inventory(trace), tmp_path_factory.mktemp("real"))


SAME = [("lru", "LRU"), ("fifo", "FIFO"), ("lfu", "LFU"), ("sieve", "Sieve")]


@pytest.mark.parametrize(("ours", "theirs"), SAME)
@pytest.mark.parametrize("part", [0.03, 0.1, 0.3, 0.7])
def test_equal_on_models_of_many_sizes(mixed, ours, theirs, part):
    capacity_mb = max(900, int(mixed.bytes * part / MIB))
    assert mixed.our_misses(ours, capacity_mb) == mixed.their_misses(getattr(peer, theirs), capacity_mb)


@needs_real
@pytest.mark.parametrize(("ours", "theirs"), SAME)
@pytest.mark.parametrize("capacity_gb", [8, 16, 24, 48, 80])
def test_equal_on_the_real_trace(real, ours, theirs, capacity_gb):
    capacity_mb = capacity_gb * 1024
    assert real.our_misses(ours, capacity_mb) == real.their_misses(getattr(peer, theirs), capacity_mb)


@pytest.mark.parametrize("capacity_mb", [30, 100, 250, 500])
def test_gdsf_that_competes_is_equal_at_one_size(equal, capacity_mb):
    expected = equal.their_misses(peer.GDSF, capacity_mb)
    assert equal.our_misses("gdsf_hits", capacity_mb, admission="compete") == expected
    # without sizes it is LFU with dynamic aging
    assert equal.our_misses("lfu_da", capacity_mb, admission="compete") == expected


@needs_real
def test_gdsf_on_the_real_trace_evicts_nothing_in_vain(real):
    """Two definitions: theirs drops others before it drops the newcomer itself; ours does not."""
    theirs = {gb: real.their_misses(peer.GDSF, gb * 1024) / 13_999 for gb in (16, 24, 48)}
    compete = {
        gb: real.our_misses("gdsf_hits", gb * 1024, admission="compete") / 13_999 for gb in (16, 24, 48)
    }
    always = {gb: real.our_misses("gdsf_hits", gb * 1024) / 13_999 for gb in (16, 24, 48)}
    assert {gb: round(ratio, 4) for gb, ratio in theirs.items()} == {16: 0.4395, 24: 0.3209, 48: 0.1461}
    assert {gb: round(ratio, 4) for gb, ratio in always.items()} == {16: 0.4245, 24: 0.3041, 48: 0.1235}
    for gb, ratio in compete.items():
        assert ratio == pytest.approx(theirs[gb], abs=0.025)


@pytest.mark.parametrize("capacity_mb", [30, 100, 500])
def test_lru_k_without_history_is_equal(equal, monkeypatch, capacity_mb):
    """Ours remembers through evictions, theirs does not: without that, the same misses for K = 2.

    For a greater K, theirs lets models used less than K times leave in the order of admission, ours (as the
    paper proposes) in that of their last use.
    """
    ours = {k: equal.our_misses("lru_k", capacity_mb, scoring={"k": k}) for k in (2, 3)}
    theirs = {k: equal.their_misses(peer.LRUK, capacity_mb, k=k) for k in (2, 3)}
    monkeypatch.setitem(POLICIES, "lru_k", lambda k: LRUK(k, keeps_history=False))
    forgetful = {k: equal.our_misses("lru_k", capacity_mb, scoring={"k": k}) for k in (2, 3)}
    assert forgetful[2] == theirs[2] != ours[2]
    assert forgetful[3] == pytest.approx(theirs[3], rel=0.1)


@pytest.mark.parametrize("capacity_mb", [200, 400, 600])
def test_s3_fifo_differs_in_the_warm_up_alone(equal, capacity_mb):
    """Theirs fills the small queue to a tenth and then the main one, before the first eviction."""
    ours, theirs = equal.our_misses("s3_fifo", capacity_mb), equal.their_misses(peer.S3FIFO, capacity_mb)
    assert ours == pytest.approx(theirs, abs=0.01 * len(equal.trace))


@pytest.mark.parametrize("capacity_mb", [100, 300])
def test_hyperbolic_differs_by_their_sampling(equal, capacity_mb):
    """Theirs takes the lowest of 64 drawn at random with age in requests; ours the lowest, in seconds."""
    ours = equal.our_misses("hyperbolic", capacity_mb)
    theirs = equal.their_misses(peer.Hyperbolic, capacity_mb)
    assert ours == pytest.approx(theirs, abs=0.03 * len(equal.trace))
