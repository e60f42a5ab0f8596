"""What the benchmarks measure on: each workload once, for these tests and for ``results/speed/remake.py``.

Nothing is timed here, and nothing is written.
"""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd

from tests.allocator.building import a_config
from tests.simulation.naive import NaiveSimulator
from tests.simulation.workloads import plain_cache, workload
from vramlab.config.schema import ModelSpec
from vramlab.config.units import MIB, mib_to_bytes
from vramlab.traces.trace import Trace

EVERYTHING = ("optimization.monitor=true", "caching.enable_result_caching=true")
SIMULATED = {
    # 40 misses in 100, the load channel two fifths busy
    "channel": {"requests": 300_000, "share": 0.25, "rate_per_s": 4.6, "exponent": 0.9},
    # far more than can be served: nearly all requests wait, most for a load
    "overloaded": {"requests": 20_000, "share": 0.25, "rate_per_s": 40.0, "exponent": 0.6},
    # 97 hits in 100
    "hits": {"requests": 200_000, "share": 0.82, "rate_per_s": 40.0, "exponent": 1.2},
}
# models, part of the bytes that fits: a quarter to two fifths of the requests miss, 1% to 3%, and under 1%
DECIDED = {
    "200, a quarter": (200, 0.25),
    "2000, nine tenths": (2000, 0.9),
    "2000, 97 in 100": (2000, 0.97),
    "200, 97 in 100": (200, 0.97),
}


def simulated(name, part=1):
    """(trace, inventory, capacity in MB) of SIMULATED, with 1 of `part` of its requests."""
    how = SIMULATED[name]
    return workload(count=200, inference_ms=5.0, **how | {"requests": how["requests"] // part})


def simulated_config(capacity_mb, order="backlog", *more):
    """One zone under LRU in which nobody who waits gives up: the naive simulator knows no more."""
    return plain_cache(capacity_mb, f"serving.order={order}", "serving.release_timeout_ms=1000000000", *more)


def naive(trace, inventory, capacity_mb):
    """Simulate the usual way, one SimPy process per request, in the order of coming."""
    return NaiveSimulator(trace, inventory, mib_to_bytes(capacity_mb), 1, 1, 0.001).run()


def with_input_keys(trace):
    """Every request has an input key, of 20,000: few answers come from the result cache, and all go in."""
    keys = np.random.default_rng(1).integers(0, 20_000, len(trace)).astype(str).astype(object)
    return Trace.from_frame(trace.frame.assign(input_key=keys))


@functools.cache
def decided(name, requests):
    """Codes by Zipf 0.9, sizes in MB, and the capacity in MB, of DECIDED."""
    models, part = DECIDED[name]
    rng = np.random.default_rng(0)
    weights = np.arange(1, models + 1) ** -0.9
    codes = rng.choice(models, size=requests, p=weights / weights.sum())
    sizes = rng.integers(10, 1000, size=models)
    return codes, sizes, int(sizes.sum() * part)


def to_decide(name, requests, policy):
    """(trace, configuration, inventory) of the same."""
    codes, sizes, capacity_mb = decided(name, requests)
    names = np.array([f"m{i}" for i in range(len(sizes))], dtype=object)
    trace = Trace.from_frame(
        pd.DataFrame({"time_s": np.arange(requests, dtype=float), "model": pd.Series(names[codes])})
    )
    inventory = {
        name: ModelSpec(
            priority="medium", vram_size_mb=int(size), load_time_ms=3.4 * int(size), cpu_fallback="none"
        )
        for name, size in zip(names, sizes, strict=True)
    }
    return trace, a_config({"flexible": {"size_mb": capacity_mb}}, scoring={"policy": policy}), inventory


def libcachesim_lru(name, requests, path):
    """Write the same to `path` as libCacheSim reads it; gives the function that plays it through its LRU.

    The function returns the share of misses, and of missed bytes.
    """
    import libcachesim as peer

    codes, sizes, capacity_mb = decided(name, requests)
    table = pd.DataFrame({"time": np.arange(requests), "id": codes + 1, "size": sizes[codes] * MIB})
    table.to_csv(path, index=False)
    options = peer.ReaderInitParam(
        has_header=True, has_header_set=True, delimiter=",", obj_id_is_num=True, obj_id_is_num_set=True
    )
    options.time_field, options.obj_id_field, options.obj_size_field = 1, 2, 3

    def process():
        reader = peer.TraceReader(
            trace=str(path), trace_type=peer.TraceType.CSV_TRACE, reader_init_params=options
        )
        return peer.LRU(capacity_mb * MIB).process_trace(reader)

    return process
