"""What all of this adds to a hit over onnxruntime's bare ``session.run`` of its model (``live_hits.py``).

``hop`` is what another thread and back alone add to the bare run. On a busy machine the medians move;
``best`` is the lowest median of a hundred requests in a row, which is what the code itself costs.
"""

import numpy as np
import pytest

from tests.benchmarks.live_hits import blocking, on_the_loop, serving

REQUESTS, BLOCK = 2000, 100


@pytest.fixture(scope="module", params=["on the loop", "with a journal", "by workers"])
def served(request, tmp_path_factory):
    """(open runtime, inputs) with one small resident model."""
    folder = tmp_path_factory.mktemp("live")
    journal = folder / "journal.jsonl" if request.param == "with a journal" else None
    with serving(folder, journal, request.param == "by workers") as open_runtime:
        yield open_runtime


def report(benchmark, bare_s, live_s, hop_s=None):
    added_us = 1e6 * (np.array(live_s) - np.median(bare_s))
    blocks = 1e6 * np.median(np.reshape(np.array(live_s) - np.array(bare_s), (-1, BLOCK)), axis=1)
    figures = {
        "bare median us": 1e6 * np.median(bare_s),
        "added median us": np.median(added_us),
        "added p99 us": np.percentile(added_us, 99),
        "added best us": blocks.min(),
        "bare p99 over median us": 1e6 * (np.percentile(bare_s, 99) - np.median(bare_s)),
    }
    if hop_s is not None:
        hop_us = 1e6 * (np.array(hop_s) - np.median(bare_s))
        figures |= {"hop median us": np.median(hop_us), "hop p99 us": np.percentile(hop_us, 99)}
        figures["over the hop, median us"] = 1e6 * (np.median(live_s) - np.median(hop_s))
    for name, value in figures.items():
        benchmark.extra_info[name] = round(float(value), 1)
    print("  ".join(f"{name} {value:.0f}" for name, value in figures.items()))
    assert np.median(live_s) > np.median(bare_s)


def test_a_hit_of_the_blocking_runtime(benchmark, served):
    report(benchmark, *benchmark.pedantic(blocking, (*served, REQUESTS), rounds=1))


def test_a_hit_of_the_asynchronous_runtime(benchmark, served):
    report(benchmark, *benchmark.pedantic(on_the_loop, (*served, REQUESTS), rounds=1))
