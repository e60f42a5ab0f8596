"""Which limits were ever reached: the one that nobody meant to set shows by that."""

import numpy as np
import pytest

import vramlab
from vramlab.allocator import Allocator
from vramlab.analysis.metrics import binding_text
from vramlab.config.schema import ModelSpec
from vramlab.traces.synthetic import zipf_trace

MODELS = {f"m{n}": ModelSpec(priority="medium", vram_size_mb=10, load_time_ms=1) for n in range(12)}


def config(**flexible):
    zone = {"size_mb": 1000, "min_retention_time": 0, **flexible}
    pool = {"total_memory_mb": 2000, "zones": {"flexible": zone}, "optimization": {"monitor": False}}
    return vramlab.VramConfig.model_validate(pool)


def asked(settings, names):
    allocator = Allocator(settings, MODELS, instant=True)
    for now_s, name in enumerate(names):
        allocator.request(name, float(now_s), pin=False)
    return allocator.binding


def test_only_limits_that_were_reached_are_named():
    twelve = list(MODELS)
    assert asked(config(max_models=None), twelve * 2) == {}
    # ten fit; the other two need a place, and then each of the second round
    assert asked(config(), twelve * 2) == {"max_models in flexible": 14}
    assert asked(config(max_models=None, size_mb=100), twelve * 2) == {"size_mb in flexible": 14}
    assert asked(config(size_mb=100), twelve * 2) == {"size_mb in flexible": 14, "max_models in flexible": 14}


@pytest.mark.parametrize("mode", ["decide", "simulate"])
def test_every_run_says_it(mode):
    trace = zipf_trace(
        np.random.default_rng(0), models=list(MODELS), requests=500, rate_per_s=1.0, exponent=0.5
    )
    result = vramlab.compare(trace, config(), MODELS, ["lru", "fifo"], mode=mode)
    for row, run in zip(result.rows, result.replays, strict=True):
        assert list(row["binding"]) == ["max_models in flexible"]
        assert row["binding"] == run.figures["binding"]
        line = f"max_models in flexible, {row['binding']['max_models in flexible']:,} times"
        assert run.frame().binding.tolist() == [binding_text(row["binding"])] == [line]
        assert f"binding: {line}" in run._repr_html_()
    assert "binding: max_models in flexible" in result._repr_html_()
    assert result.frame().binding.str.startswith("max_models in flexible").all()
