"""Who watches a replay is told how far it is, may end it, and changes nothing."""

import pandas as pd
import pytest

from vramlab.config.loading import load_config
from vramlab.config.schema import ModelSpec, Priority
from vramlab.experiments.replay import replay
from vramlab.simulation.watching import watching
from vramlab.traces.trace import Trace

CARD = load_config(None, ["total_memory_mb=816", "zones={flexible: {size_mb: 16, min_retention_time: 0}}"])
MODELS = {name: ModelSpec(priority=Priority.MEDIUM, vram_size_mb=10, load_time_ms=100) for name in ("a", "b")}


@pytest.fixture(scope="module")
def trace():
    frame = pd.DataFrame({"time_s": [0.5 * k for k in range(20_000)], "model": ["a", "b", "b", "b"] * 5000})
    return Trace.from_frame(frame, "by hand")


@pytest.mark.parametrize("mode", ["simulate", "decide"])
def test_who_watches_hears_how_far_it_is_and_changes_nothing(trace, mode):
    told = []
    with watching(told.append):
        seen = replay(trace, CARD, MODELS, mode)
    assert told == sorted(told)
    assert told[0] == 0
    assert len(told) >= 3
    assert told[-1] < 1
    alone = replay(trace, CARD, MODELS, mode)
    assert len(told) == len(set(told))  # nobody is told any more
    assert seen.records.outcomes.tobytes() == alone.records.outcomes.tobytes()
    assert seen.records.finish_s.tobytes() == alone.records.finish_s.tobytes()


@pytest.mark.parametrize("mode", ["simulate", "decide"])
def test_who_watches_may_end_it(trace, mode):
    class Enough(BaseException):
        pass

    def look(share):
        if share > 0.3:
            raise Enough

    with pytest.raises(Enough), watching(look):
        replay(trace, CARD, MODELS, mode)
    assert replay(trace, CARD, MODELS, mode).figures["requests"] == 20_000
