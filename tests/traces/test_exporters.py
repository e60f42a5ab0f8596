"""libCacheSim reads what is written for it, and counts the misses that we count."""

from collections import OrderedDict

import numpy as np
import pandas as pd
import pytest

from vramlab.config.errors import InputError
from vramlab.traces.exporters import write_libcachesim_csv
from vramlab.traces.importers import IMPORTERS, ImportOptions
from vramlab.traces.synthetic import zipf_trace
from vramlab.traces.trace import Trace


def small():
    return Trace.from_frame(pd.DataFrame({"time_s": [0.5, 1.9, 2.0], "model": ["b", "a", "b"]}), "t.csv")


def test_file(tmp_path):
    path = tmp_path / "t.csv"
    assert write_libcachesim_csv(small(), path, {"a": 10, "b": 20}) == {"b": 1, "a": 2}
    assert path.read_text() == "time,obj_id,obj_size\n0,1,20\n1,2,10\n2,1,20\n"
    trace, report = IMPORTERS["libcachesim-csv"](path, ImportOptions())
    assert trace.frame["model"].tolist() == ["1", "2", "1"]
    assert report.sizes_bytes == {"1": 20, "2": 10}


@pytest.mark.parametrize("sizes", [{"b": 1}, {"a": 0, "b": 1}])
def test_sizes_are_needed(tmp_path, sizes):
    with pytest.raises(
        InputError, match=r"t\.csv: model a: found (no size|0), expected a size of at least 1"
    ):
        write_libcachesim_csv(small(), tmp_path / "t.csv", sizes)


def test_negative_times(tmp_path):
    trace = Trace.from_frame(pd.DataFrame({"time_s": [-1.0], "model": ["a"]}), "t.csv")
    with pytest.raises(InputError, match=r"time_s: found -1\.0, expected times of 0 or more"):
        write_libcachesim_csv(trace, tmp_path / "t.csv", {"a": 1})


def lru_misses(trace, sizes, capacity):
    resident, used, misses = OrderedDict(), 0, 0
    for name in trace.frame["model"]:
        if name in resident:
            resident.move_to_end(name)
            continue
        misses += 1
        while used + sizes[name] > capacity:
            used -= resident.popitem(last=False)[1]
        resident[name] = sizes[name]
        used += sizes[name]
    return misses


def test_libcachesim_counts_the_same_misses(tmp_path):
    cachesim = pytest.importorskip("libcachesim", reason="the peer libcachesim is not installed")
    rng = np.random.default_rng(4)
    trace = zipf_trace(rng, models=[f"m{n}" for n in range(30)], requests=4_000, rate_per_s=5)
    sizes = {name: int(rng.integers(1, 100)) * 1_000 for name in trace.model_names}
    path = tmp_path / "t.csv"
    write_libcachesim_csv(trace, path, sizes)
    parameters = cachesim.ReaderInitParam(
        has_header=True, has_header_set=True, delimiter=",", obj_id_is_num=True, obj_id_is_num_set=True
    )
    parameters.time_field, parameters.obj_id_field, parameters.obj_size_field = 1, 2, 3
    for capacity in (300_000, 700_000):
        reader = cachesim.TraceReader(
            trace=str(path), trace_type=cachesim.TraceType.CSV_TRACE, reader_init_params=parameters
        )
        miss_ratio, _ = cachesim.LRU(capacity).process_trace(reader)
        assert round(miss_ratio * len(trace)) == lru_misses(trace, sizes, capacity)
