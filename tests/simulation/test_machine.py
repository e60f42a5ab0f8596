"""A machine that effects share: processor sharing worked by hand."""

import pandas as pd
import pytest

from tests.simulation.workloads import plain_cache
from vramlab.config.schema import ModelSpec, VramConfig
from vramlab.engine.effects import Infer, Load, Target
from vramlab.runs.samples import Sample, samples_frame
from vramlab.simulation.machine import SharedMachine, measured_slowdowns
from vramlab.simulation.profile_times import ProfileTimes
from vramlab.simulation.replaying import simulate
from vramlab.traces.trace import Trace

RUN, LOAD = Infer("a", Target.GPU, 1), Load("b", Target.GPU)


class Constant:
    def __init__(self, load_s=0.0, infer_s=1.0):
        self.load, self.infer = load_s, infer_s

    def load_s(self, model, target):
        return self.load

    def unload_s(self, model):
        return 0.0

    def infer_s(self, model, target, items):
        return self.infer * items


def models(*names, always_loaded=True):
    return {
        name: ModelSpec(
            priority="critical" if always_loaded else "medium",
            vram_size_mb=1,
            load_time_ms=1000,
            always_loaded=always_loaded,
            cpu_fallback="none",
        )
        for name in names
    }


def trace(rows):
    return Trace.from_frame(pd.DataFrame(rows, columns=["time_s", "model", "items"]), "<test>")


def finish_s(rows, machine, *overrides, inventory=None):
    config = plain_cache(100, *overrides)
    inventory = inventory or models("a", "b", "c")
    return simulate(trace(rows), config, inventory, machine).finish_s.tolist()


def test_three_runs_on_one_core():
    # One core. a (1 s) runs alone until 0.5: half is left. b (1 s) joins: both at half speed. a is done after
    # another second, at 1.5, when b has half left. c (2 s) comes at 1.5: both at half speed; b is done at
    # 2.5, c has 1.5 s left and goes on alone: 4.0.
    rows = [(0.0, "a", 1), (0.5, "b", 1), (1.5, "c", 2)]
    machine = SharedMachine(Constant(), cores=1)
    assert finish_s(rows, machine, "serving.gpu_streams=3") == pytest.approx([1.5, 2.5, 4.0])


def test_three_runs_on_two_cores():
    # a, b and c have 1, 1 and 2 s of work. a has a core; b has one until c comes at once and shares it, as b
    # has begun later than a: half speed. a is done at 1.0, when b has half left and c 1.5 s; c, the last that
    # came, moves to the idle core. b is done at 1.5, c at 2.5.
    rows = [(0.0, "a", 1), (0.0, "b", 1), (0.0, "c", 2)]
    machine = SharedMachine(Constant(), cores=2)
    assert finish_s(rows, machine, "serving.gpu_streams=3") == pytest.approx([1.0, 1.5, 2.5])


def test_four_runs_on_two_cores():
    # Two each, at half speed: c (1 s) beside b (3 s), then d (3 s) beside a (1 s). a and c are done at 2.0,
    # when b and d have 2 s left and a core each.
    rows = [(0.0, "a", 1), (0.0, "b", 3), (0.0, "c", 1), (0.0, "d", 3)]
    machine = SharedMachine(Constant(), cores=2)
    inventory = models("a", "b", "c", "d")
    finished = finish_s(rows, machine, "serving.gpu_streams=4", inventory=inventory)
    assert finished == pytest.approx([2.0, 4.0, 2.0, 4.0])


def test_with_cores_enough_and_no_neighbours_it_is_the_constant_path():
    rows = [(0.0, "a", 1), (0.25, "b", 3), (0.5, "c", 2), (0.5, "a", 1), (4.0, "b", 1)]
    alone = finish_s(rows, Constant(), "serving.gpu_streams=2")
    assert finish_s(rows, SharedMachine(Constant(), cores=8), "serving.gpu_streams=2") == pytest.approx(alone)


def test_two_loads_share_one_link_and_a_third_takes_its_part():
    # Three loads of 1 s, at 0, 0 and 1: two at half speed have half left at 1, then three at a third: the two
    # are done at 2.5, when the third has half left and the link to itself: 3.0. Runs take no time.
    rows = [(0.0, "a", 1), (0.0, "b", 1), (1.0, "c", 1)]
    machine = SharedMachine(Constant(load_s=1.0, infer_s=0.0), one_link=True)
    inventory = models("a", "b", "c", always_loaded=False)
    finished = finish_s(rows, machine, "serving.load_channels=3", inventory=inventory)
    assert finished == pytest.approx([2.5, 2.5, 3.0])


class Short(ProfileTimes):
    """Runs and loads of 1 s; a worker's thread adds 1 s to runs, a queue 2 s, and the event loop nothing."""

    def __init__(self):
        samples = [Sample("a", "gpu", "load", 1, 1.0)]
        samples += [
            Sample("a", "gpu", "bare infer", 1, 1.0),
            Sample("a", "gpu", "serving by a worker", 1, 1.0),
        ]
        samples += [
            Sample("a", "gpu", "serving on the loop", 1, 0.0),
            Sample("a", "gpu", "serving from a queue", 1, 2.0),
        ]
        super().__init__(samples_frame(samples, {}), VramConfig(), models("a", "b", always_loaded=False))


@pytest.mark.parametrize(
    ("inline_run_s", "expected"),
    [
        # a is loaded by 1, which lets it run until 4: now it is known to be short. Alone at 5: no change of
        # threads. Three at 10: the first is alone when it comes; then the loop hands the second to a worker,
        # and the third is begun by this one, when it has reported the end.
        (1.0, [4.0, 6.0, 11.0, 13.0, 16.0]),
        (0.5, [4.0, 7.0, 12.0, 15.0, 18.0]),  # not short
        (0.0, [4.0, 7.0, 12.0, 15.0, 18.0]),
    ],
)
def test_a_lone_run_known_to_be_short_saves_its_changes_of_threads(inline_run_s, expected):
    inventory = models("a", always_loaded=False)
    rows = [(0.0, "a", 1), (5.0, "a", 1), *[(10.0, "a", 1)] * 3]
    machine = SharedMachine(Short(), inline_run_s=inline_run_s)
    assert finish_s(rows, machine, inventory=inventory) == pytest.approx(expected)


def test_the_second_of_two_short_runs_is_done_where_the_first_was():
    # As above until 4. Two at 10: the first is done on the loop, where nothing has to be reported to another
    # thread, and then the second is alone.
    rows = [(0.0, "a", 1), *[(10.0, "a", 1)] * 2]
    machine = SharedMachine(Short(), inline_run_s=1.0)
    inventory = models("a", always_loaded=False)
    assert finish_s(rows, machine, inventory=inventory) == pytest.approx([4.0, 11.0, 12.0])


def test_it_is_not_silent_while_something_runs():
    samples = [Sample("a", "gpu", what, 1, 1.0) for what in ("bare infer", "load")]
    samples += [Sample("b", "gpu", "bare infer", 1, s, p) for s, p in ((2.0, 0.0), (3.0, 1.0))]
    samples += [Sample("b", "gpu", "bare infer after another", 1, 2.0, 0.0)]
    samples += [Sample("a", "gpu", f"serving {how}", 1, 0.0) for how in ("by a worker", "on the loop")]
    times = ProfileTimes(samples_frame(samples, {}), VramConfig(), models("a", "b"))
    machine = SharedMachine(times)
    assert machine.begin(Infer("b", Target.GPU, 1), 0.0) == 3.0
    machine.end(0, 3.0)
    machine.begin(RUN, 9.0)
    assert machine.begin(Infer("b", Target.GPU, 1), 9.5) == 2.0


def test_runs_on_the_device_have_its_cores_for_themselves():
    # Two cores, one of them the device's. b (1 s) loads and a (1 s) runs: neither disturbs the other. Then b
    # loads while a runs on the CPU: one core for both.
    machine = SharedMachine(Constant(load_s=1.0), cores=2, device_cores=1)
    run_on_cpu = Infer("a", Target.CPU, 1)
    for effect in (LOAD, RUN, run_on_cpu):
        machine.begin(effect, 0.0)
    assert machine.speeds() == [0.5, 1.0, 0.5]
    machine.begin(RUN, 0.0)  # two streams, and one core for both
    assert machine.speeds() == [0.5, 0.5, 0.5, 0.5]
    machine.end(0, 1.0)
    assert machine.speeds() == [0.5, 1.0, 0.5]


def test_an_idle_core_of_the_device_is_no_use_to_the_host():
    machine = SharedMachine(Constant(), cores=4, device_cores=2)
    for effect in (LOAD, LOAD, LOAD, RUN):
        machine.begin(effect, 0.0)
    assert sorted(machine.speeds()) == [0.5, 0.5, 1.0, 1.0]
    machine.end(0, 1.0)
    assert machine.speeds() == [1.0, 1.0, 1.0]


def test_speeds_multiply():
    slowdowns = {("infer on gpu", "load on gpu"): 2.0}
    machine = SharedMachine(Constant(), cores=2, slowdowns=slowdowns)
    machine.begin(RUN, 0.0)
    assert machine.speeds() == [1.0]
    machine.begin(LOAD, 0.0)
    assert machine.speeds() == [0.5, 1.0]
    machine.begin(LOAD, 0.0)  # beside the other on its core
    assert machine.speeds() == [0.25, 0.5, 0.5]
    machine.end(0, 1.0)  # and one of them moves
    assert machine.speeds() == [1.0, 1.0]


def test_slowdowns_are_medians_beside_over_alone_and_never_below_one():
    def infer(seconds, beside=""):
        return Sample("a", "gpu", "infer", 1, seconds, 0.03, beside)

    samples = [infer(s) for s in (0.9, 1.0, 5.0)]
    samples += [infer(s, "load on gpu") for s in (1.4, 1.5, 9.0)]
    samples += [infer(s, "infer on cpu") for s in (0.8, 0.9, 1.0)]
    samples += [Sample("b", "gpu", "infer", 1, 7.0, 0.03, "load on gpu")]  # never alone: says nothing
    assert measured_slowdowns(samples_frame(samples, {})) == {
        ("infer on gpu", "load on gpu"): 1.5,
        ("infer on gpu", "infer on cpu"): 1.0,
    }


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        ({}, (4.0, 3.0, 4.0)),
        ({"cpu_count": 1}, (2.0, 1.5, 2.0)),
        ({"cpu_count": 2}, (4.0, 3.0, 4.0)),
        # the run on the device has one core, both others the second
        ({"cpu_count": 2, "device_cores": 1}, (2.0, 3.0, 4.0)),
        ({"cpu_count": 3, "device_cores": 1}, (4.0, 3.0, 4.0)),
    ],
)
def test_neighbours_do_not_answer_for_a_core_that_had_to_be_shared(machine, expected):
    pairs = [
        ("load", "gpu", "infer on cpu"),
        ("infer", "gpu", "load on gpu"),
        ("infer", "cpu", "infer on gpu"),
    ]
    samples = [Sample("a", target, what, 1, 1.0) for what, target, _ in pairs]
    times_s = (4.0, 3.0, 4.0)
    samples += [Sample("a", t, w, 1, s, 0.0, b) for (w, t, b), s in zip(pairs, times_s, strict=True)]
    found = measured_slowdowns(samples_frame(samples, machine))
    assert tuple(found[f"{what} on {target}", beside] for what, target, beside in pairs) == expected
