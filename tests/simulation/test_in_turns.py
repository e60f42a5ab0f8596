"""Windows of two halves in turns: what one half has seen is drawn in the other, and never in itself."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from vramlab.config.schema import ModelSpec, VramConfig
from vramlab.engine.effects import Infer, Target
from vramlab.runs.samples import Sample, samples_frame
from vramlab.simulation.choosing import recorded_times
from vramlab.simulation.history import QUEUED, History
from vramlab.simulation.in_turns import TimesInTurns, Windows
from vramlab.simulation.recorded import judged

INVENTORY = {"a": ModelSpec(priority="medium", vram_size_mb=10, load_time_ms=1, inference_ms=1)}


def test_the_order_is_that_of_thue_and_morse():
    windows = Windows(10.0, 2.0)
    assert [windows.half(10 + 2 * number) for number in range(8)] == [0, 1, 1, 0, 1, 0, 0, 1]
    assert windows.half(3.0) == 0  # before the first
    assert windows.half(13.999) == 1


@given(st.integers(2, 40), st.floats(0.1, 5))
def test_no_half_has_much_more_than_the_other(fours, length_s):
    windows = Windows(0.0, length_s)
    halves = [windows.half((number + 0.5) * length_s) for number in range(4 * fours)]
    assert sum(halves) == len(halves) / 2


def in_turns():
    frames = []
    for half, seconds in enumerate((1.0, 3.0)):
        samples = [Sample("a", "gpu", QUEUED, 1, seconds)] * 6
        frames.append(samples_frame(samples, {}).assign(half=half))
    frame = pd.concat(frames, ignore_index=True)
    frame.attrs = {"windows": (0.0, 2.0)}
    return recorded_times(frame, VramConfig(), INVENTORY, np.random.default_rng(0))


def test_each_half_has_its_own_times():
    times = in_turns()
    assert isinstance(times, TimesInTurns)
    history = History()
    effect = Infer("a", Target.GPU, 1)
    drawn = [times.work_s(effect, history, now_s, True) for now_s in (1.0, 3.0, 5.0, 7.0)]
    assert drawn == [1.0, 3.0, 3.0, 1.0]


def test_the_source_is_that_of_the_half_that_knows_less():
    samples = [Sample("a", "gpu", QUEUED, 1, 1.0)], judged([Sample("a", "gpu", QUEUED, 1, 3.0)])
    frame = pd.concat([samples_frame(each, {}).assign(half=half) for half, each in enumerate(samples)])
    frame.attrs = {"windows": (0.0, 2.0)}
    times = recorded_times(frame, VramConfig(), INVENTORY)
    assert times.source("run", "a", Target.GPU).origin == "judged"
    assert times.source("load", "a", Target.GPU).origin == "unknown"
