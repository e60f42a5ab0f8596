"""The work of effects that a journal has seen, by hand, and drawn again."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vramlab.config.errors import InputError
from vramlab.config.schema import ModelSpec, VramConfig
from vramlab.engine.effects import Infer, Load, Target, Unload
from vramlab.engine.journal import Journal, Line
from vramlab.runs.run_folder import read_run
from vramlab.runs.samples import Sample, samples_frame
from vramlab.simulation import seen
from vramlab.simulation.history import AFTER_LOAD, AT_ONCE, QUEUED, History
from vramlab.simulation.machine import SharedMachine
from vramlab.simulation.recorded import ENOUGH, RecordedTimes, Source
from vramlab.simulation.replaying import simulate
from vramlab.simulation.seen import FIRST_LOAD, RELOAD, UNLOAD
from vramlab.simulation.service_times import SpecTimes

INF = float("inf")


def seen_work(*arguments):
    return [sample for _, sample in seen.seen_work(*arguments)]


def arrival(time_s, task, model, items=1):
    return Line(time_s, "arrival", task, model, detail={"items": items} if items > 1 else None)


def start(time_s, task, model, what, joined=()):
    return Line(time_s, "start", task, model, what, detail={"joined": list(joined)} if joined else None)


def end(time_s, task, model, what, event="end"):
    return Line(time_s, event, task, model, what, duration_s=0.0)


OVERLAPPING = [
    # One core on the host, one of the device. A load from 0 to 10 shares the host's core with a run on the
    # CPU from 2 to 8: it has 2 + 6/2 + 2 = 7 s of work, and the run 3. A run on the device, 4 to 6, has its
    # own core: 2 s.
    arrival(0.0, 0, "a"),
    start(0.0, 0, "a", "load on gpu"),
    arrival(2.0, 1, "b", 3),
    start(2.0, 1, "b", "infer on cpu"),
    arrival(4.0, 2, "c"),
    start(4.0, 2, "c", "infer on gpu"),
    end(6.0, 2, "c", "infer on gpu"),
    end(8.0, 1, "b", "infer on cpu"),
    end(10.0, 0, "a", "load on gpu"),
    start(10.0, 0, "a", "infer on gpu"),
    end(11.0, 0, "a", "infer on gpu"),
]


def test_a_load_that_shares_its_core_with_a_run():
    assert seen_work(OVERLAPPING, 2, 1) == [
        Sample("c", "gpu", AT_ONCE, 1, 2.0, INF),  # nothing had run there
        Sample("b", "cpu", AT_ONCE, 3, 3.0, INF),
        Sample("a", "gpu", FIRST_LOAD, 1, 7.0),
        Sample("a", "gpu", AFTER_LOAD, 1, 1.0, 4.0),  # the last there had ended at 6
    ]


def test_when_each_began():
    assert [begin_s for begin_s, _ in seen.seen_work(OVERLAPPING)] == [4.0, 2.0, 0.0, 10.0]


def test_without_cores_work_is_what_the_journal_says():
    seconds = {(s.model, s.what): s.seconds for s in seen_work(OVERLAPPING)}
    assert seconds == {
        ("c", AT_ONCE): 2.0,
        ("b", AT_ONCE): 6.0,
        ("a", FIRST_LOAD): 10.0,
        ("a", AFTER_LOAD): 1.0,
    }


def test_kinds_of_history():
    lines = [
        start(0.0, "start", "a", "load on gpu"),
        end(1.0, "start", "a", "load on gpu"),
        arrival(2.0, 0, "a"),
        start(2.0, 0, "a", "infer on gpu"),
        arrival(2.5, 1, "a"),
        arrival(2.6, 2, "a", 4),
        end(3.0, 0, "a", "infer on gpu"),
        Line(3.0, "done", 0, what="HIT"),
        start(3.0, 1, "a", "infer on gpu", joined=[2]),
        end(4.0, 1, "a", "infer on gpu"),
        start(4.0, 1, "a", "unload"),
        end(4.5, 1, "a", "unload"),
        start(4.5, 1, "a", "load on gpu"),
        end(6.0, 1, "a", "load on gpu", "fail"),  # no sample; nor what is still under way
        start(6.0, 1, "a", "load on gpu"),
        end(8.0, 1, "a", "load on gpu"),
        start(8.0, 1, "a", "infer on gpu"),
    ]
    assert seen_work(lines, 4) == [
        Sample("a", "gpu", FIRST_LOAD, 1, 1.0),
        Sample("a", "gpu", AT_ONCE, 1, 1.0, INF),
        Sample("a", "gpu", QUEUED, 5, 1.0, 0.0),  # 1 item and the 4 of the request that joined it
        Sample("a", "gpu", UNLOAD, 1, 0.5),
        Sample("a", "gpu", RELOAD, 1, 2.0),
    ]


def test_a_run_that_gives_memory_back_is_a_run_on_its_device():
    lines = [
        arrival(0.0, 0, "a"),
        start(0.0, 0, "a", "infer on gpu, shrinking"),
        end(2.0, 0, "a", "infer on gpu, shrinking"),
    ]
    assert seen_work(lines) == [Sample("a", "gpu", AT_ONCE, 1, 2.0, INF)]


def test_a_reload_that_was_never_seen_is_not_taken_for_a_first_load():
    """Of three models reloads take half of first loads; so will the fourth's, which was loaded once."""
    samples = [
        Sample(name, "gpu", what, 1, seconds)
        for name, first_s in (("a", 2.0), ("b", 4.0), ("c", 6.0))
        for what, seconds in ((FIRST_LOAD, first_s), (RELOAD, first_s / 2))
    ]
    times = RecordedTimes(
        samples_frame([*samples, Sample("d", "gpu", FIRST_LOAD, 1, 10.0)], {}),
        VramConfig(),
        {name: ModelSpec(priority="medium", vram_size_mb=10, load_time_ms=1) for name in "abcd"},
    )
    assert times.source("load", "d", Target.GPU).median_s == 5.0


def test_batches_that_the_run_has_not_seen_take_as_much_more_as_the_profile_says():
    own = [Sample("a", "gpu", AT_ONCE, 1, 0.02, INF)] * 8
    profile = [Sample("a", "gpu", "infer", items, seconds) for items, seconds in ((1, 0.01), (8, 0.015))]
    inventory = {"a": ModelSpec(priority="medium", vram_size_mb=10, load_time_ms=1)}
    times = RecordedTimes(samples_frame([*own, *profile], {}), VramConfig(), inventory)
    assert times.source("run", "a", Target.GPU, 8).median_s == pytest.approx(0.03)
    alone = RecordedTimes(samples_frame(own, {}), VramConfig(), inventory)
    assert alone.source("run", "a", Target.GPU, 8).median_s == pytest.approx(0.16)


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0.01, 10), st.booleans()), min_size=1, max_size=12))
def test_the_work_of_all_is_the_time_in_which_a_core_was_busy(effects):
    # On one core, whatever overlaps: the works add up to the length of the union of the intervals.
    events = []
    for task, (begin_s, length_s, load) in enumerate(effects):
        what = "load on gpu" if load else "infer on cpu"
        events.append((begin_s, 0, start(begin_s, task, "a", what)))
        events.append((begin_s + length_s, 1, end(begin_s + length_s, task, "a", what)))
    lines = [line for *_, line in sorted(events, key=lambda event: event[:2])]
    busy_s, until_s = 0.0, 0.0
    for begin_s, length_s, _ in sorted(effects):
        busy_s += max(0.0, begin_s + length_s - max(begin_s, until_s))
        until_s = max(until_s, begin_s + length_s)
    samples = seen_work(lines, 1)
    assert len(samples) == len(effects)
    assert sum(sample.seconds for sample in samples) == pytest.approx(busy_s)


# -- drawn again -----------------------------------------------------------------------------------------


def models(*names, size_mb=10):
    spec = ModelSpec(priority="medium", vram_size_mb=size_mb, load_time_ms=1, inference_ms=1)
    return dict.fromkeys(names, spec)


def times(samples, inventory, seed=None):
    rng = None if seed is None else np.random.default_rng(seed)
    return RecordedTimes(samples_frame(samples, {}), VramConfig(), inventory, rng)


def runs(model, how, *seconds, target="gpu", silence_s=0.0, items=1):
    return [Sample(model, target, how, items, one_s, silence_s) for one_s in seconds]


def test_enough_samples_of_one_situation_are_drawn_from_equally_often():
    alike = [1.0, 2.0, 3.0, 4.0, 5.0]
    samples = [*runs("a", QUEUED, *alike), *runs("a", AFTER_LOAD, *[100.0] * 5)]
    drawn = times(samples, models("a"), seed=1)
    found = [drawn.infer_s("a", Target.GPU, 1) for _ in range(5000)]
    assert set(found) == set(alike)
    assert min(found.count(one_s) for one_s in alike) > 900


def test_a_run_is_drawn_from_those_with_the_like_silence():
    short = [s for i in range(20) for s in runs("a", AT_ONCE, 1.0, silence_s=0.001 + i * 1e-5)]
    long = [s for i in range(20) for s in runs("a", AT_ONCE, 2.0, silence_s=0.5 + i * 1e-5)]
    drawn = times([*short, *long], models("a"), seed=1)
    history, run = History(), Infer("a", Target.GPU, 1)
    history.begin(run)
    history.end(0, 10.0)
    assert {drawn.work_s(run, history, 10.001, False) for _ in range(50)} == {1.0}
    assert {drawn.work_s(run, history, 10.7, False) for _ in range(50)} == {2.0}


def test_few_samples_take_the_factor_of_their_situation_from_other_models():
    # After a load, b's runs take twice their median; so a's take 2 x 3 s, which was never seen after a load.
    samples = [*runs("b", QUEUED, *[1.0] * 9), *runs("b", AFTER_LOAD, *[2.0] * ENOUGH)]
    samples += runs("a", QUEUED, *[3.0] * ENOUGH)
    drawn = times(samples, models("a", "b"))
    history, load = History(), Load("a", Target.GPU)
    history.begin(load)
    history.end(0, 1.0)
    assert drawn.work_s(Infer("a", Target.GPU, 1), history, 1.0, True) == 6.0
    assert drawn.source("run", "a", Target.GPU) == Source("run", ENOUGH, 3.0)


def test_items_that_were_not_seen():
    samples = [*runs("a", QUEUED, 1.0, items=2), *runs("a", QUEUED, 3.0, items=6)]
    drawn = times(samples, models("a"))
    found = [drawn.infer_s("a", Target.GPU, items) for items in (1, 2, 4, 6, 12)]
    assert found == [0.5, 1.0, 2.0, 3.0, 6.0]


def test_a_profile_fills_in_what_the_run_has_not_seen():
    samples = [
        *runs("a", QUEUED, 1.0),
        Sample("a", "gpu", "load", 1, 7.0),
        Sample("a", "gpu", "infer", 1, 9.0),
    ]
    drawn = times(samples, models("a"))
    assert drawn.source("run", "a", Target.GPU) == Source("run", 1, 1.0)
    assert drawn.source("load", "a", Target.GPU) == Source("profile", 1, 7.0)
    assert drawn.load_s("a", Target.GPU) == 7.0


def test_the_other_device_by_the_ratio_of_three_models():
    # b, c and d take 2, 3 and 10 times as long on the CPU: 3 times, says the median. a takes 5 s on the GPU.
    samples = runs("a", QUEUED, 5.0)
    for name, on_cpu_s in (("b", 2.0), ("c", 3.0), ("d", 10.0)):
        samples += [*runs(name, QUEUED, 1.0), *runs(name, QUEUED, on_cpu_s, target="cpu")]
    drawn = times(samples, models("a", "b", "c", "d"))
    assert drawn.infer_s("a", Target.CPU, 1) == 15.0
    assert drawn.source("run", "a", Target.CPU) == Source("estimated", 3, 15.0)


def test_one_other_model_is_enough_for_a_ratio():
    samples = [*runs("a", QUEUED, 5.0), *runs("b", QUEUED, 1.0), *runs("b", QUEUED, 2.0, target="cpu")]
    drawn = times(samples, models("a", "b"))
    assert drawn.source("run", "a", Target.CPU) == Source("estimated", 1, 10.0)


def test_a_load_by_its_size():
    # 1 s and 0.1 s per MB, from three models: 20 MB take 3 s.
    inventory = models("a", size_mb=20)
    samples = []
    for name, size_mb in (("b", 10), ("c", 30), ("d", 50)):
        inventory |= models(name, size_mb=size_mb)
        samples.append(Sample(name, "gpu", RELOAD, 1, 1 + 0.1 * size_mb))
    drawn = times(samples, inventory)
    assert drawn.load_s("a", Target.GPU) == pytest.approx(3.0)
    assert drawn.source("load", "a", Target.GPU).origin == "estimated"


def test_what_nothing_tells_is_an_error_that_names_it():
    drawn = times(runs("a", QUEUED, 1.0), models("a", "b"))
    with pytest.raises(InputError, match=r"^a: found no run on the CPU: it never ran there in the recording"):
        drawn.infer_s("a", Target.CPU, 1)
    with pytest.raises(InputError, match=r"^b: found no load on the GPU: it never was loaded there"):
        drawn.load_s("b", Target.GPU)
    assert drawn.source("load", "b", Target.GPU) == Source("unknown")
    assert drawn.unload_s("b") == VramConfig().serving.unload_time_ms / 1000


def test_first_loads_and_reloads_are_drawn_apart():
    samples = [Sample("a", "gpu", FIRST_LOAD, 1, 9.0)] * ENOUGH + [
        Sample("a", "gpu", RELOAD, 1, 2.0)
    ] * ENOUGH
    drawn, history, load = times(samples, models("a")), History(), Load("a", Target.GPU)
    assert drawn.work_s(load, history, 0.0, False) == 9.0
    history.begin(load)
    history.end(0, 9.0)
    assert drawn.work_s(load, history, 10.0, False) == 2.0
    assert drawn.work_s(Unload("a"), history, 10.0, False) == VramConfig().serving.unload_time_ms / 1000


def test_the_work_of_a_simulation_comes_back_from_its_journal():
    # A bundled recording, simulated with the inventory's times on two cores that effects share.
    run = read_run(Path(__file__).parents[2] / "traces" / "recorded_tight")
    spec, journal = SpecTimes(run.config, run.inventory), Journal()
    simulate(run.trace, run.config, run.inventory, SharedMachine(spec, 2, 1), journal)
    lines = list(journal)
    samples = seen_work(lines, 2, 1)
    expected = []
    for sample in samples:
        target = Target(sample.target)
        if sample.what in (FIRST_LOAD, RELOAD):
            expected.append(spec.load_s(sample.model, target))
        elif sample.what == UNLOAD:
            expected.append(spec.unload_s(sample.model))
        else:
            expected.append(spec.infer_s(sample.model, target, sample.items))
    assert len(samples) > 1000
    # what is always loaded is there at once: that took no time
    begun_late = [(s.seconds, e) for s, e in zip(samples, expected, strict=True) if s.seconds > 0]
    assert [seconds for seconds, _ in begun_late] == pytest.approx([work_s for _, work_s in begun_late])
    shared = sum(line.duration_s or 0.0 for line in lines if line.event == "end" and line.model)
    assert shared > 1.01 * sum(sample.seconds for sample in samples)  # not all had a core alone
