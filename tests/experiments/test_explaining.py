"""Evictions explained out of a journal, worked by hand."""

import pandas as pd
import pytest

from vramlab.config.errors import InputError
from vramlab.config.schema import ModelSpec, Priority, VramConfig
from vramlab.experiments.explaining import explain, total_cost_s
from vramlab.experiments.replay import replay
from vramlab.traces.trace import Trace


def spec(size_mb, load_ms=1000, run_ms=100):
    return ModelSpec(
        priority=Priority.MEDIUM, vram_size_mb=size_mb, load_time_ms=load_ms, inference_ms=run_ms
    )


CONFIG = VramConfig.model_validate(
    {
        "total_memory_mb": 100,
        "overhead": {"cuda_context_mb": 0, "framework_mb": 0, "buffer_mb": 0},
        "zones": {"flexible": {"size_mb": 100, "max_models": None, "min_retention_time": 0}},
        "scoring": {"policy": "lru"},
        "fallback": {"cpu_fallback_enabled": False},
        "optimization": {"monitor": False},
        "serving": {"unload_time_ms": 0},
    }
)
MODELS = {"a": spec(60), "b": spec(30), "c": spec(60)}


def lines_of(*rows):
    trace = Trace.from_frame(pd.DataFrame(rows, columns=["time_s", "model"]))
    return list(replay(trace, CONFIG, MODELS, journal=True).journal)


def test_an_eviction_says_for_whom_among_whom_and_what_it_cost_later():
    """At 20 s c needs 60 of 100 MB: a, used at 0 s, leaves; b, used at 10 s, may stay. At 30 s a is wanted
    again, by two requests: its load of 1 s keeps the first waiting 1 s and the second, 0.4 s later, 0.6 s."""
    lines = lines_of((0, "a"), (10, "b"), (20, "c"), (30, "a"), (30.4, "a"))
    found = explain(lines, CONFIG, MODELS, "a")
    (one,) = found.evictions
    assert (one.time_s, one.asked_by, one.loaded) == (20.0, 2, "c")
    assert [(rival.model, rival.state) for rival in one.rivals] == [("b", "resident")]
    assert one.score == 0.0
    assert one.rivals[0].score == 10.0
    assert one.lowest
    assert one.spared == ""
    assert one.back_s == pytest.approx(31.0)
    assert (one.load_s, one.waiters) == (pytest.approx(1.0), 2)
    assert one.waited_s == pytest.approx(1.6) == total_cost_s(found)
    assert found.asked_s == [0.0, 30.0, 30.4]
    assert found.stays == [(1.0, 20.0), (pytest.approx(31.0), pytest.approx(31.2))]
    row = found.frame().iloc[0]
    assert (row["loaded"], row["rivals"], row["cost_s"]) == ("c", "b 10", pytest.approx(1.6))


def test_a_rival_of_a_lower_score_that_stayed_is_explained():
    """At 20 s b has the lower score, but its 30 MB would not be enough: the policy's order takes both, and
    LRU takes strictly in order, so b goes too; under a score b is spared."""
    lru = explain(lines_of((0, "b"), (10, "a"), (20, "c")), CONFIG, MODELS, "a")
    assert [one.rivals for one in lru.evictions] == [[]]
    config = CONFIG.model_copy(update={"scoring": CONFIG.scoring.model_copy(update={"policy": "seed_fixed"})})
    trace = Trace.from_frame(pd.DataFrame([(0, "a"), (10, "b"), (20, "c")], columns=["time_s", "model"]))
    lines = list(replay(trace, config, MODELS, journal=True).journal)
    (one,) = explain(lines, config, MODELS, "a").evictions
    assert [rival.model for rival in one.rivals] == ["b"]


def test_an_eviction_that_nobody_noticed_costs_nothing():
    (one,) = explain(lines_of((0, "a"), (10, "c")), CONFIG, MODELS, "a").evictions
    assert (one.back_s, one.waited_s, one.waiters) == (None, 0.0, 0)


def test_settings_that_did_not_write_the_journal_are_refused():
    lines = lines_of((0, "a"), (10, "b"), (20, "c"))
    other = {**MODELS, "a": spec(10)}
    with pytest.raises(InputError, match="the journal of a run with these settings"):
        explain(lines, CONFIG, other, "a")
    with pytest.raises(InputError, match="a model of the inventory"):
        explain(lines, CONFIG, MODELS, "x")
