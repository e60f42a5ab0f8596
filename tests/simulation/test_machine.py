"""A machine that effects share: processor sharing worked by hand."""

import pandas as pd
import pytest

from tests.simulation.workloads import plain_cache
from vramlab.config.schema import ModelSpec
from vramlab.engine.effects import Infer, Load, Target
from vramlab.simulation.machine import SharedMachine
from vramlab.simulation.replaying import simulate
from vramlab.simulation.service_times import ServiceTimes
from vramlab.traces.trace import Trace

RUN, LOAD = Infer("a", Target.GPU, 1), Load("b", Target.GPU)


class Constant(ServiceTimes):
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


def test_with_cores_enough_it_is_the_constant_path():
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


def test_loads_share_a_core_and_the_link():
    machine = SharedMachine(Constant(), cores=2, one_link=True)
    for effect in (RUN, LOAD, LOAD):
        machine.begin(effect, 0.0)
    assert machine.speeds() == [1.0, 0.25, 0.25]  # beside each other on one core, and on the link
    machine.end(0, 1.0)  # one of them moves
    assert machine.speeds() == [0.5, 0.5]
