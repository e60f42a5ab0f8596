"""What all of this adds to a hit over onnxruntime's bare ``session.run`` of its model (``live_hits.py``).

Of a hit by a worker the peer is the bare run on another thread and back. On a busy machine the medians move;
``best`` is the lowest median of a hundred requests in a row, which is what the code itself costs.
"""

import numpy as np
import pytest

from tests.benchmarks.live_hits import blocking, by_a_worker, on_the_loop, serving

REQUESTS, BLOCK = 2000, 100


@pytest.fixture(params=[False, True], ids=["no journal", "with a journal"])
def journal(request, tmp_path):
    return tmp_path / "journal.jsonl" if request.param else None


def report(benchmark, peer_s, live_s):
    added_us = 1e6 * (np.array(live_s) - np.median(peer_s))
    blocks = 1e6 * np.median(np.reshape(np.array(live_s) - np.array(peer_s), (-1, BLOCK)), axis=1)
    figures = {
        "peer median us": 1e6 * np.median(peer_s),
        "added median us": np.median(added_us),
        "added p99 us": np.percentile(added_us, 99),
        "added best us": blocks.min(),
        "peer p99 over median us": 1e6 * (np.percentile(peer_s, 99) - np.median(peer_s)),
    }
    for name, value in figures.items():
        benchmark.extra_info[name] = round(float(value), 1)
    print("  ".join(f"{name} {value:.0f}" for name, value in figures.items()))
    assert len(live_s) == len(peer_s) == REQUESTS  # all were answered; which is quicker is no test's affair


@pytest.mark.parametrize("measure", [blocking, on_the_loop, by_a_worker])
def test_a_hit(benchmark, measure, journal, tmp_path):
    with serving(tmp_path, journal, by_workers=measure is by_a_worker) as served:
        report(benchmark, *benchmark.pedantic(measure, (*served, REQUESTS), rounds=1))
