"""The simulator agrees with one written the usual way, to the last request."""

import numpy as np
import pytest

from tests.simulation.naive import NaiveSimulator
from tests.simulation.workloads import plain_cache, workload
from vramlab.config.units import mib_to_bytes
from vramlab.engine.outcomes import Outcome
from vramlab.simulation.replaying import simulate

KINDS = {Outcome.HIT: 0, Outcome.COLD_START: 1, Outcome.WAIT: 2}


@pytest.mark.parametrize(
    ("seed", "streams", "channels", "rate_per_s", "exponent"),
    [
        (0, 1, 1, 2.0, 1.0),
        (1, 1, 1, 8.0, 1.4),  # the load channel is what everybody waits for
        (2, 2, 1, 10.0, 1.6),
        (3, 4, 2, 20.0, 1.8),  # requests join loads and wait for models in use
    ],
)
def test_equal_latencies_and_outcomes(seed, streams, channels, rate_per_s, exponent):
    trace, inventory, capacity_mb = workload(
        seed, requests=6000, rate_per_s=rate_per_s, exponent=exponent, share=0.3
    )
    # Unloads take no time here: while they do, the real one keeps bytes for the earlier of two loads that
    # wait for them, the naive one gives them to whoever asks first.
    config = plain_cache(
        capacity_mb,
        f"serving.gpu_streams={streams}",
        f"serving.load_channels={channels}",
        "serving.unload_time_ms=0",
        "serving.order=arrival",
    )
    records = simulate(trace, config, inventory)
    naive = NaiveSimulator(trace, inventory, mib_to_bytes(capacity_mb), streams, channels, 0.0).run()
    assert [KINDS[outcome] for outcome in records.outcomes] == naive.kind.tolist()
    np.testing.assert_allclose(records.finish_s, naive.finish_s, rtol=0, atol=1e-9)
    assert len(records.loads) == np.sum(naive.kind == 1) > 400
    assert np.sum(naive.kind == 2) > 10
