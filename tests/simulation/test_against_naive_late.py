"""The scheduler agrees with one written the usual way, to the last request."""

import numpy as np
import pytest

from tests.simulation.naive_late import NaiveLate
from tests.simulation.workloads import plain_cache, workload
from vramlab.config.units import mib_to_bytes
from vramlab.engine.effects import Target
from vramlab.engine.journal import Journal
from vramlab.engine.outcomes import Outcome
from vramlab.simulation.replaying import simulate
from vramlab.simulation.service_times import SpecTimes
from vramlab.traces.trace import Trace


class CheapTogether(SpecTimes):
    """Half of an item's time is a run's, however many items it has."""

    def infer_s(self, model, target, items):
        return super().infer_s(model, target, 1) * (1 + items) / 2


KINDS = {Outcome.HIT: 0, Outcome.COLD_START: 1, Outcome.WAIT: 2}


@pytest.mark.parametrize("batching", [False, True], ids=["one by one", "joined"])
@pytest.mark.parametrize("order", ["fifo", "affinity", "backlog"])
@pytest.mark.parametrize(
    ("seed", "streams", "channels", "rate_per_s", "max_wait_s"),
    [
        (0, 1, 1, 2.0, 300),
        (1, 1, 1, 8.0, 2),  # the load channel is what everybody waits for, and soon the bound
        (2, 2, 1, 10.0, 300),
        (3, 4, 2, 20.0, 1),  # models in use stand in the way
        (4, 3, 2, 40.0, 20),  # far more than can be served
    ],
)
def test_equal_latencies_and_outcomes(order, batching, seed, streams, channels, rate_per_s, max_wait_s):
    trace, inventory, capacity_mb = workload(
        seed, requests=1500, rate_per_s=rate_per_s, exponent=1.2, share=0.25, inference_ms=40
    )
    rng = np.random.default_rng(seed)
    for (
        name,
        spec,
    ) in inventory.items():  # no two ends at the same moment: who would be first is anyone's guess
        times = {"load_time_ms": spec.load_time_ms + rng.random(), "inference_ms": 40 + rng.random()}
        joins = {"splits": bool(rng.random() < 0.8), "batch_size": int(rng.integers(1, 12))}
        inventory[name] = spec.model_copy(update=times | (joins if batching else {}))
    items = rng.integers(1, 5, len(trace))
    trace = Trace.from_frame(trace.frame.assign(items=items), trace.source)
    config = plain_cache(
        capacity_mb,
        f"serving.gpu_streams={streams}",
        f"serving.load_channels={channels}",
        f"serving.order={order}",
        f"serving.max_wait_s={max_wait_s}",
        "serving.unload_time_ms=0",
        f"serving.batching={batching}",
        "scoring.victims=in_order",
    )
    journal, times = Journal(), CheapTogether(config, inventory) if batching else None
    records = simulate(trace, config, inventory, times, journal)
    naive = NaiveLate(
        trace, inventory, mib_to_bytes(capacity_mb), streams, channels, order, max_wait_s,
        times=None if times is None else lambda name, items: times.infer_s(name, Target.GPU, items),
    ).run()  # fmt: skip
    joined = sum("joined" in (line.detail or {}) for line in journal if line.event == "start")
    assert (joined >= 20) == (batching and seed > 0)
    assert not np.isnan(records.latency_s).any()
    np.testing.assert_allclose(records.finish_s, naive.finish_s, rtol=0, atol=1e-9)
    assert [KINDS[outcome] for outcome in records.outcomes] == naive.kind.tolist()
    assert len(records.loads) == naive.loads > 50
