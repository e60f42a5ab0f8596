"""The device whose sessions really run out of memory: limits, readings, threads, and what is shared."""

import threading

import numpy as np
import pytest

from tests.live.instead import Instead
from vramlab.config.schema import ModelSpec
from vramlab.config.units import MIB, mib_to_bytes
from vramlab.live.cpu_arena import CpuArenaDevice, LimitedArena
from vramlab.live.device_facts import Demand
from vramlab.live.device_threads import DeviceThreads
from vramlab.live.devices import choose_device
from vramlab.live.emulated import CpuEmulatedDevice
from vramlab.live.errors import OutOfMemory, OwnLimit, SessionError
from vramlab.live.inputs import make_inputs
from vramlab.live.onnx_sessions import make_session
from vramlab.live.stand_ins import build_stand_ins
from vramlab.live.values import equal_answers

SIZES_MB = {"small.onnx": 4, "large.onnx": 20}


def spec(size_mb=20.0, workspace_mb=0.0, **more):
    return ModelSpec(
        priority="medium", vram_size_mb=size_mb, workspace_mb=workspace_mb, load_time_ms=1, **more
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return build_stand_ins(
        {name: spec(size) for name, size in SIZES_MB.items()}, tmp_path_factory.mktemp("models")
    )


def batch(session, items):
    return make_inputs(session, items, np.random.default_rng(items))


def measured(path, largest=16):
    """Weights and workspace of a model in its arena, the largest batch first."""
    device = CpuArenaDevice(500 * MIB)
    with make_session(path, spec(), device) as session:
        weights = session.taken_bytes
        session.run(batch(session, largest))
        return weights, device.memory().used_bytes - weights


# -- readings ------------------------------------------------------------------------------------------------


def test_an_arena_says_what_it_holds_and_nothing_is_left_when_its_session_is_gone(files):
    device = CpuArenaDevice(500 * MIB, overhead_bytes=MIB)
    assert device.memory().used_bytes == MIB
    with make_session(files["large.onnx"], spec(), device) as session:
        loaded = session.taken_bytes
        assert 10 * MIB < loaded < 21 * MIB
        assert device.memory().used_bytes == MIB + loaded
        session.run(batch(session, 4))
        first = device.memory()
        assert first.process_bytes > loaded
        assert (first.others_bytes, first.available_bytes) == (0, 501 * MIB - first.used_bytes)
        for _ in range(3):
            session.run(batch(session, 4))  # no block of a memory pattern beside what the first run took
            assert device.memory() == first
        session.run(batch(session, 1), shrink=True)
        assert device.memory().process_bytes < first.process_bytes
        device.lose(5 * MIB)
        assert device.memory().others_bytes == 5 * MIB
    assert device.memory().used_bytes == MIB + 5 * MIB
    device.lose(-5 * MIB)
    assert device.memory().used_bytes == MIB


def test_what_is_promised_is_not_available_before_it_is_taken(files):
    device = CpuArenaDevice(500 * MIB)
    with make_session(files["large.onnx"], spec(20, 30), device):
        assert device.promised_bytes() == 50 * MIB
        assert device.taken_bytes() < 20 * MIB
    assert device.promised_bytes() == 0


# -- limits --------------------------------------------------------------------------------------------------


def test_ascending_batches_fail_under_the_measured_limit_and_a_shrunk_arena_has_room(files):
    weights, workspace = measured(files["large.onnx"])
    device = CpuArenaDevice(500 * MIB)
    with make_session(files["large.onnx"], spec(), device, limit_bytes=weights + workspace) as session:
        failed = None
        for items in (1, 2, 4, 8, 16):
            try:
                session.run(batch(session, items))
            except OwnLimit as error:
                failed = items, error
        items, error = failed
        assert items > 1
        assert error.kind == "own limit"
        assert 0 < error.lacking_bytes <= workspace
        with pytest.raises(OwnLimit):
            session.run_and_shrink(batch(session, 16))  # fails as before, and leaves the arena shrunk
        expected = session.run(batch(session, 16))
        assert device.memory().used_bytes <= weights + workspace
    with make_session(files["large.onnx"], spec(), None) as plain:
        assert equal_answers(expected, plain.run(batch(plain, 16)))


def test_descending_batches_run_under_the_measured_limit(files):
    weights, workspace = measured(files["large.onnx"])
    device = CpuArenaDevice(500 * MIB)
    with make_session(files["large.onnx"], spec(), device, limit_bytes=weights + workspace) as session:
        for items in (16, 8, 4, 2, 1, 16, 1, 16):
            session.run(batch(session, items))
        assert device.memory().used_bytes == weights + workspace


def test_a_limit_below_the_weights_is_no_limit_and_is_refused(files):
    device = CpuArenaDevice(500 * MIB)
    arena = LimitedArena(MIB)
    assert arena.held_bytes() == 0
    with pytest.raises(OwnLimit, match="its arena has no limit any more") as caught:
        make_session(files["large.onnx"], spec(20, 8), device, limit_bytes=5 * MIB)
    assert caught.value.lacking_bytes == 8 * MIB
    del caught
    assert device.memory().used_bytes == device.promised_bytes() == 0


def test_a_full_device_refuses_a_load_and_the_workspace_of_a_run(files):
    device = CpuArenaDevice(60 * MIB)
    with make_session(files["large.onnx"], spec(20, 12), device) as session:
        with pytest.raises(OutOfMemory) as caught:
            make_session(files["large.onnx"], spec(50), device)
        assert (caught.value.kind, caught.value.lacking_bytes) == ("out of memory", 10 * MIB)
        device.lose(30 * MIB)
        with pytest.raises(OutOfMemory, match=r"^running large\.onnx") as caught:
            session.run(batch(session, 1))
        assert caught.value.lacking_bytes == 2 * MIB
        device.lose(-2 * MIB)
        session.run(batch(session, 1))


# -- threads -------------------------------------------------------------------------------------------------


def test_one_thread_loads_runs_and_closes_whoever_asks(files, monkeypatch):
    seen = []
    device = CpuArenaDevice(500 * MIB)
    session = make_session(files["small.onnx"], spec(4), device)
    begin, here = session._place.begin_run, threading.current_thread
    monkeypatch.setattr(session._place, "begin_run", lambda what: seen.append(here()) or begin(what))
    inputs = batch(session, 2)
    expected = session.run(inputs)
    outputs = []
    threads = [threading.Thread(target=lambda: outputs.append(session.run(inputs))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = device.memory().used_bytes
    session.close()
    assert len(outputs) == 8
    assert all(equal_answers(output, expected) for output in outputs)
    assert {thread.name for thread in seen} == {"cpu-arena 0"}
    weights, workspace = measured(files["small.onnx"], largest=2)
    assert taken == weights + workspace  # of one run, though eight threads asked at once


def test_sessions_are_shared_out_to_the_threads_of_several_streams():
    threads = DeviceThreads("a device of a test", 2)
    one, two, three = (threads.assign() for _ in range(3))
    assert one is not two
    assert three in (one, two)
    threads.release(one)
    threads.release(two)
    threads.release(three)
    assert [thread.sessions for thread in (one, two)] == [0, 0]
    with pytest.raises(ZeroDivisionError):
        one.do(lambda: 1 / 0)
    assert one.do(one.do, lambda: 7) == 7  # from inside, it does not wait for itself


# -- shared --------------------------------------------------------------------------------------------------


def test_in_a_shared_arena_one_model_runs_on_the_activations_of_another(files):
    device = CpuArenaDevice(500 * MIB, shared_bytes=20 * MIB)
    with make_session(files["large.onnx"], spec(20, 20), device) as large:
        with make_session(files["small.onnx"], spec(4, 10), device) as small:
            assert device.promised_bytes() == (20 + 4 + 20) * MIB
            large.run(batch(large, 16))
            before = device.memory().used_bytes
            small.run(batch(small, 4))
            assert device.memory().used_bytes == before
        assert device.memory().used_bytes < before  # the weights are back at once, the activations stay
    assert device.memory().used_bytes == 0  # nobody is left who could use them


def test_the_ledger_of_a_shared_workspace_holds_the_largest_run():
    device = CpuEmulatedDevice(100, shared_bytes=30)
    charges = []
    with device.placing(Demand(20, 10), "a") as one, device.placing(Demand(20, 30), "b") as two:
        for place in (one, two, one):
            place.begin_run("a run")
            place.end_run(shrink=False)
            charges.append(device.memory().used_bytes)
        assert charges == [50, 70, 70]
        one.begin_run("a run")
        with pytest.raises(OutOfMemory):
            device.admit(31, "more")
        one.end_run(shrink=True)
        assert device.memory().used_bytes == 40
        one.leave()
        two.leave()
    assert (device.memory().used_bytes, device.promised_bytes()) == (0, 30)


# -- padding -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("items", "runs"), [(1, [1]), (2, [4]), (3, [4]), (4, [4]), (5, [8]), (9, [8, 8]), (17, [8, 8, 8])]
)
def test_requests_are_filled_up_to_a_few_sizes(files, items, runs):
    sizes = []
    with make_session(files["small.onnx"], spec(4), None) as plain:
        expected = plain.run(batch(plain, items))
    padded = spec(4, batch_size=8, splits=True, pad_to=(8, 1, 4))
    with make_session(files["small.onnx"], padded, CpuArenaDevice(500 * MIB)) as session:
        run = session._session.run
        session._session = Instead(
            session._session,
            lambda names, chunk, o: sizes.append(len(chunk["input"])) or run(names, chunk, o),
        )
        assert equal_answers(session.run(batch(session, items)), expected)
    assert sizes == runs


# -- choosing ------------------------------------------------------------------------------------------------


def test_it_is_chosen_by_name():
    device = choose_device("cpu-arena", budget_bytes=7 * MIB, overhead_bytes=MIB, shared_bytes=MIB)
    assert device.label == "cpu-arena"
    assert device.memory().total_bytes == 8 * MIB
    assert device.describe()["workspace"] == "shared"
    assert mib_to_bytes(7) == device.budget_bytes
    assert issubclass(OwnLimit, SessionError)
