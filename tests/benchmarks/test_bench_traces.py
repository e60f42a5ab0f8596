"""Traces at full size: a million generated requests, a million imported rows, and a description of them."""

import numpy as np
import pytest

from vramlab.traces.describe import describe
from vramlab.traces.files import write_trace
from vramlab.traces.generate import generate
from vramlab.traces.importers import IMPORTERS, ImportOptions
from vramlab.traces.spec import make_spec

REQUESTS = 1_000_000


def mixture():
    return make_spec(
        {
            "requests": REQUESTS,
            "streams": [
                {
                    "rate_per_s": 10,
                    "burstiness": 2,
                    "markov": [{"factor": 1, "mean_s": 60}, {"factor": 5, "mean_s": 5}],
                    "cycle": {"daily": [1, 2, 3, 2]},
                    "models": 200,
                    "drift": {"period_s": 3600},
                    "reuse": [{"probability": 0.3, "lags": [1, 50]}],
                    "requesters": {"distinct": 50, "exponent": 1},
                    "input_keys": {"distinct": 10_000, "share": 0.5},
                },
                {"rate_per_s": 2, "pipeline": [{"model": "detect"}, {"model": "read", "probability": 0.5}]},
            ],
        }
    )


@pytest.mark.benchmark(group="traces")
def test_generate(benchmark):
    """The goal: under two seconds."""
    trace = benchmark.pedantic(generate, (mixture(),), rounds=3)
    assert len(trace) == REQUESTS


@pytest.mark.benchmark(group="traces")
def test_import_azure_functions(benchmark, tmp_path):
    rng = np.random.default_rng(1)
    path = tmp_path / "invocations.csv"
    ends = np.cumsum(rng.exponential(1, REQUESTS)).round(3).astype(str)
    functions = rng.zipf(1.5, REQUESTS).clip(max=500).astype(str)
    with path.open("w") as file:
        file.write("app,func,end_timestamp,duration\n")
        file.writelines(f"a,{func},{end},0.5\n" for func, end in zip(functions, ends, strict=True))
    trace, _ = benchmark.pedantic(IMPORTERS["azure-functions"], (path, ImportOptions()), rounds=2)
    assert len(trace) == REQUESTS


@pytest.mark.benchmark(group="traces")
def test_write_parquet(benchmark, tmp_path):
    benchmark.pedantic(write_trace, (generate(mixture()), tmp_path / "t.parquet"), rounds=2)


@pytest.mark.benchmark(group="traces")
def test_describe(benchmark):
    benchmark.pedantic(describe, (generate(mixture()),), rounds=2)
