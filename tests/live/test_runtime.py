"""The live runtime with real sessions on the emulated device: life cycle, failures, cancellation, threads.

Each run leaves a journal, which must lead the engine to the same decisions, and nothing on the device.
"""

import asyncio
import shutil
import socket
import threading
import time
import urllib.error
import urllib.request
from types import SimpleNamespace
from uuid import UUID

import numpy as np
import onnx
import pytest

from tests.live.instead import run_instead
from vramlab.allocator.invariants import check
from vramlab.config.errors import InputError
from vramlab.config.loading import load_config
from vramlab.config.schema import ModelSpec
from vramlab.engine.effects import Target
from vramlab.engine.outcomes import Outcome
from vramlab.live.blocking import BlockingRuntime
from vramlab.live.inputs import make_inputs
from vramlab.live.metrics_server import _Latencies
from vramlab.live.runtime import LiveRuntime, RequestFailed, RequestRefused
from vramlab.live.stand_ins import with_stand_ins
from vramlab.runs.journal_reading import read_journal
from vramlab.runs.lockstep import lockstep
from vramlab.runs.recorder import Recorder

MIB = 2**20


def spec(size_mb, **values):
    return ModelSpec(**{"priority": "medium", "vram_size_mb": size_mb, "load_time_ms": 10, **values})


def settings(capacity_mb, *overrides):
    return load_config(
        None,
        [
            f"total_memory_mb={capacity_mb}",
            "overhead={cuda_context_mb: 0, framework_mb: 0, buffer_mb: 0}",
            f"zones={{flexible: {{size_mb: {capacity_mb}, max_models: null, min_retention_time: 0}}}}",
            "scoring.policy=lru",
            "optimization.pressure_available_mb=0",
            *overrides,
        ],
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """a, b and secure (no CPU): 2 MB each, and an input for them."""
    folder = tmp_path_factory.mktemp("stand-ins")
    inventory = {"a": spec(2), "b": spec(2), "secure": spec(2, cpu_fallback="none")}
    return with_stand_ins(inventory, folder)


@pytest.fixture(scope="module")
def inputs(models):
    rng = np.random.default_rng(0)
    return {name: make_inputs(spec.path, 1, rng) for name, spec in models.items()}


class Run:
    """A runtime that, when closed, is held to its journal and its ledgers."""

    def __init__(self, tmp_path, config, inventory, **more):
        self.config, self.inventory, self.path = config, inventory, tmp_path / "journal.jsonl"
        self.runtime = LiveRuntime(config, inventory, "cpu-emulated", self.path, **more)

    async def __aenter__(self):
        return await self.runtime.__aenter__()

    async def __aexit__(self, kind, error, traceback):
        await self.runtime.__aexit__(kind, error, traceback)
        if kind is None:
            held_to(self.runtime, self.path)


def held_to(runtime, path):
    engine, device = runtime.engine, runtime.backend.device
    check(engine.allocator)
    assert engine.allocator.device.held == 0
    assert all(model.pins == 0 for model in engine.allocator.models.values())
    assert device.memory().used_bytes == device.overhead_bytes + device.memory().others_bytes
    assert engine.desk.gpu.free == runtime.config.serving.gpu_streams
    assert engine.desk.cpu.free == runtime.config.serving.cpu_workers
    lines = read_journal(path)
    report = lockstep(lines, runtime.config, runtime.inventory)
    assert not report.differences, str(report.differences[0])
    times_s = [line.time_s for line in lines]
    assert times_s == sorted(times_s)
    assert report.records.outcomes.tolist() == runtime.recorder.records().outcomes.tolist()


def test_serving_evicting_and_closing(tmp_path, models, inputs):
    async def main():
        async with Run(tmp_path, settings(3), models) as runtime:
            for name in ("a", "a", "b", "a"):
                (output, *_) = await runtime.infer(name, inputs[name], requester="test", priority="high")
                assert np.isfinite(output).all()
            assert [Outcome(o).name for o in runtime.records().outcomes] == [
                "COLD_START", "HIT", "COLD_START", "COLD_START"
            ]  # fmt: skip
            status = runtime.status()
            assert status.outcomes["cold_start"] == 3
            assert {model.name: model.state for model in status.models}["a"] == "resident"
        with pytest.raises(RequestRefused, match="closing"):
            await runtime.infer("a", inputs["a"])

    asyncio.run(main())


def test_several_items_are_answered_in_one_request(tmp_path, models, inputs):
    rng = np.random.default_rng(1)

    async def main():
        async with Run(tmp_path, settings(3), models) as runtime:
            many = make_inputs(models["a"].path, 5, rng)
            (output, *_) = await runtime.infer("a", many)
            assert len(output) == 5
            one_by_one = [
                (await runtime.infer("a", {key: value[i : i + 1] for key, value in many.items()}))[0][0]
                for i in range(5)
            ]
            np.testing.assert_allclose(output, np.array(one_by_one), rtol=1e-5)

    asyncio.run(main())


def test_by_hand(tmp_path, models, inputs):
    always = models | {"b": models["b"].model_copy(update={"always_loaded": True})}

    async def main():
        async with Run(tmp_path, settings(5), always) as runtime:
            assert runtime.driver.sessions.keys() == {("b", Target.GPU)}
            assert await runtime.preload("a") == ""
            assert "free room" in await runtime.preload("secure")
            assert await runtime.load("secure") == ""  # for which one has left
            assert await runtime.unload("secure") == ""
            assert await runtime.unload("secure") == "it is absent"
            with pytest.raises(InputError, match="secure"):
                await runtime.load("secur")

    asyncio.run(main())


def test_bad_requests_do_not_reach_the_journal(tmp_path, models, inputs):
    async def main():
        async with Run(tmp_path, settings(3), models) as runtime:
            with pytest.raises(InputError, match="priority"):
                await runtime.infer("a", inputs["a"], priority="urgent")
            with pytest.raises(InputError, match="'c'"):
                await runtime.infer("c", inputs["a"])
            with pytest.raises(RequestFailed, match="running"):
                await runtime.infer("a", {"no such input": np.zeros(1, np.float32)})
            await runtime.infer("a", inputs["a"])
            assert runtime.status().outcomes["failed"] == 1

    asyncio.run(main())


class Twenty(int):
    """As an integer of numpy: a number that JSON does not know by its type."""


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (b"\x00\xff", "00ff"),
        (np.int64(7), "7"),
        (Twenty(20), "20"),
        ("zoë", "zoë"),
        (np.str_("text"), "text"),
    ],
)
def test_who_asks_and_for_what_is_written_down_as_text(tmp_path, models, inputs, given, written):
    async def main():
        async with Run(tmp_path, settings(3), models) as runtime:
            await runtime.infer("a", inputs["a"], requester=given, input_key=given)
            answer = await runtime.submit("a", inputs["a"], input_key=written)
            assert answer.outcome is Outcome.CACHE_HIT

    asyncio.run(main())
    arrival = next(line for line in read_journal(tmp_path / "journal.jsonl") if line.event == "arrival")
    assert arrival.detail == {"items": 1, "requester": written, "input_key": written}


@pytest.mark.parametrize("given", [[1], {"a": 1}, float("nan"), 1.5, True, "\udc80", object()])
def test_who_cannot_be_written_down_is_refused_at_the_door(tmp_path, models, inputs, given):
    async def main():
        async with Run(tmp_path, settings(3), models) as runtime:
            for key in ("requester", "input_key"):
                with pytest.raises(InputError, match=f"request: {key}: found .*, expected text"):
                    await runtime.infer("a", inputs["a"], **{key: given})
            await runtime.infer("a", inputs["a"])

    asyncio.run(main())


# -- opening and closing


def threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("vramlab")]


def test_a_runtime_is_opened_once(tmp_path, models, inputs):
    async def main():
        run = Run(tmp_path, settings(3), models)
        async with run as runtime:
            await runtime.infer("a", inputs["a"])
            with pytest.raises(RuntimeError, match="opened once"):
                await runtime.__aenter__()
            await runtime.infer("a", inputs["a"])
        with pytest.raises(RuntimeError, match="opened once"):
            await run.runtime.__aenter__()

    asyncio.run(main())
    assert not threads()


def test_a_runtime_that_is_never_opened_has_no_threads(tmp_path, models):
    LiveRuntime(settings(3), models, "cpu-emulated", tmp_path / "journal.jsonl")
    assert not threads()


def test_a_start_that_fails_leaves_nothing_behind(tmp_path, models):
    always = {"a": models["a"].model_copy(update={"always_loaded": True})}

    async def main():
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            runtime = LiveRuntime(
                settings(3), always, "cpu-emulated", tmp_path / "j.jsonl", metrics_port=port
            )
            with pytest.raises(InputError, match="free port"):
                async with runtime:
                    raise AssertionError("not opened")
        assert not threads()
        assert not runtime.driver.sessions
        held_to(runtime, tmp_path / "j.jsonl")

    asyncio.run(main())


def test_an_exit_that_is_cancelled_leaves_nothing_behind(tmp_path, models, inputs):
    async def main():
        runtime = LiveRuntime(settings(5), models, "cpu-emulated", tmp_path / "j.jsonl")
        slow = runtime.backend = Slow(runtime.backend, "a")

        async def serve():
            async with runtime:
                asked = asyncio.create_task(runtime.submit("a", inputs["a"]))
                await asyncio.sleep(0.05)
            return asked

        serving = asyncio.create_task(serve())
        while not slow.opened:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        serving.cancel()
        await asyncio.sleep(0.05)
        serving.cancel()  # twice
        asyncio.get_running_loop().call_later(0.1, slow.go_on.set)
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert not threads()
        assert not runtime.driver.sessions
        held_to(runtime, tmp_path / "j.jsonl")

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_full_disk_shows_in_status_and_metrics_and_costs_nothing_else(tmp_path, models, inputs):
    async def main():
        async with Run(tmp_path, settings(3), models, metrics_port=0) as runtime:
            write = runtime.journal._file.write
            runtime.journal._file = SimpleNamespace(write=lambda data: 1 // 0, close=lambda: None)
            await runtime.infer("a", inputs["a"])
            runtime.journal.flush()
            status = runtime.status()
            assert "zero" in status.journal_trouble
            assert status.journal_waiting_bytes > 100
            url = f"http://127.0.0.1:{runtime.metrics.port}/metrics"
            answer = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read().decode())
            assert "vramlab_journal_trouble 1.0" in answer
            runtime.journal._file.write = write
            await runtime.infer("a", inputs["a"])
            runtime.journal.flush()
            assert runtime.status().journal_trouble == ""

    asyncio.run(main())


def test_what_is_always_loaded_and_could_not_be_is_said(tmp_path, models, inputs, caplog):
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no model")
    always = {
        "big": models["a"].model_copy(update={"always_loaded": True, "vram_size_mb": 6.0}),
        "bad": models["a"].model_copy(update={"always_loaded": True, "path": str(bad)}),
        "a": models["a"].model_copy(update={"always_loaded": True}),
    }

    async def main():
        async with Run(tmp_path, settings(5), always) as runtime:
            await runtime.infer("a", inputs["a"])

    asyncio.run(main())
    said = [record for record in caplog.records if record.message.startswith("always loaded")]
    assert [record.model for record in said] == ["big", "bad"]
    assert "no room" in said[0].message
    assert "corrupt" in said[1].message
    notes = [line for line in read_journal(tmp_path / "journal.jsonl") if line.event == "action"]
    assert [line.model for line in notes if line.task == "start"] == ["big", "bad"]


@pytest.mark.parametrize("given", [None, 5, "abc", [1]])
def test_inputs_that_are_no_mapping_are_refused_at_the_door(tmp_path, models, inputs, given):
    async def main():
        async with Run(tmp_path, settings(3), models) as runtime:
            with pytest.raises(InputError, match="a mapping from names to arrays"):
                await runtime.infer("a", given)
            for name in (None, 5, ["a"], b"a", "m" * 100_000):
                with pytest.raises(InputError, match="request: model: found") as caught:
                    await runtime.infer(name, inputs["a"])
                assert len(str(caught.value)) < 400

    asyncio.run(main())


def test_a_lone_array_is_enough_for_a_model_of_one_input(tmp_path, models, inputs):
    ((name, array),) = inputs["a"].items()

    async def main():
        async with Run(tmp_path, settings(3), models) as runtime:
            (by_name,) = await runtime.infer("a", {name: array})
            (alone,) = await runtime.infer("a", array)
            np.testing.assert_array_equal(alone, by_name)

    asyncio.run(main())


def test_a_lone_array_for_a_model_of_two_inputs_is_asked_for_their_names(tmp_path, models):
    kinds = [onnx.helper.make_tensor_value_info(name, 1, [1]) for name in ("left", "right", "sum")]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["left", "right"], ["sum"])], "g", kinds[:2], kinds[2:]
    )
    path = tmp_path / "two.onnx"
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path
    )
    two = {"two": spec(1, path=str(path))}

    async def main():
        async with Run(tmp_path, settings(3), two) as runtime:
            with pytest.raises(InputError, match=r"found a lone array, expected .* two takes left, right"):
                await runtime.infer("two", np.ones(1, np.float32))
            ones = np.ones(1, np.float32)
            (answer,) = await runtime.infer("two", {"left": ones, "right": ones})
            assert answer == 2

    asyncio.run(main())


def test_threads_of_loads_that_came_too_late_end_with_them(tmp_path, models, inputs):
    async def main():
        run = Run(tmp_path, settings(5, "serving.load_timeout_ms=20", "optimization.monitor=false"), models)
        backend = run.runtime.backend
        real = backend.open
        backend.open = lambda model, *rest: (model == "secure" and time.sleep(0.1), real(model, *rest))[1]
        async with run as runtime:
            count = len(threads())
            for _ in range(10):
                with pytest.raises(RequestFailed, match="longer than"):
                    await runtime.infer("secure", inputs["secure"])
            await asyncio.sleep(0.3)
            assert len(threads()) <= count

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_corrupt_file(tmp_path, models, inputs):
    path = tmp_path / "broken.onnx"
    shutil.copy(models["secure"].path, path)
    path.write_bytes(path.read_bytes()[: MIB // 2])
    broken = models | {"secure": models["secure"].model_copy(update={"path": str(path)})}

    async def main():
        async with Run(tmp_path, settings(3), broken) as runtime:
            with pytest.raises(RequestFailed, match="corrupt"):
                await runtime.infer("secure", inputs["secure"])
            await runtime.infer("a", inputs["a"])

    asyncio.run(main())


def test_out_of_memory_learns_a_footprint(tmp_path, models, inputs):
    """`a` says that it takes 1 MB and takes 2."""
    lying = {"a": models["a"].model_copy(update={"vram_size_mb": 1.0}), "b": models["b"]}

    async def main():
        async with Run(tmp_path, settings(3.2), lying) as runtime:
            await runtime.infer("b", inputs["b"])
            assert (await runtime.submit("a", inputs["a"])).outcome is Outcome.COLD_START
            model = runtime.engine.allocator.models["a"]
            assert model.bytes > MIB
            assert runtime.engine.allocator.models["b"].state.value == "absent"  # left for it

    asyncio.run(main())


def test_a_device_that_loses_memory(tmp_path, models, inputs):
    async def main():
        async with Run(tmp_path, settings(5), models) as runtime:
            device = runtime.backend.device
            await runtime.infer("b", inputs["b"])
            device.lose(2 * MIB)
            answer = await runtime.submit("a", inputs["a"])
            assert answer.outcome is Outcome.COLD_START  # b has left for it
            assert runtime.engine.allocator.models["a"].bytes == 2 * MIB
            assert runtime.status().budget_bytes < 5 * MIB
            device.lose(2 * MIB)  # and now there is not enough for anything
            assert (await runtime.submit("b", inputs["b"])).outcome is Outcome.FALLBACK

    asyncio.run(main())


class Slow:
    """A backend that hangs in the loads of some models until told otherwise."""

    def __init__(self, backend, *hanging):
        self._backend, self.hanging, self.go_on = backend, hanging, threading.Event()
        self.opened = []

    def open(self, model, target, size_bytes=None):
        session = self._backend.open(model, target, size_bytes)
        if model in self.hanging and target is Target.GPU:
            self.opened.append(session)
            self.go_on.wait(20)
        return session

    def __getattr__(self, name):
        return getattr(self._backend, name)


def test_a_load_that_hangs(tmp_path, models, inputs):
    async def main():
        run = Run(tmp_path, settings(8, "serving.load_timeout_ms=500"), models)
        slow = run.runtime.backend = Slow(run.runtime.backend, "a", "secure")
        async with run as runtime:
            assert (await runtime.submit("a", inputs["a"])).outcome is Outcome.FALLBACK
            with pytest.raises(RequestFailed, match="longer than"):
                await runtime.infer("secure", inputs["secure"])
            assert (await runtime.submit("b", inputs["b"])).outcome is Outcome.COLD_START
            slow.go_on.set()
            while any(session._session is not None for session in slow.opened):
                await asyncio.sleep(0.01)  # what comes too late is closed
            assert ("a", Target.GPU) not in runtime.driver.sessions

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_caller_that_is_cancelled_gives_its_place_up(tmp_path, models, inputs):
    async def main():
        run = Run(tmp_path, settings(5), models)
        slow = run.runtime.backend = Slow(run.runtime.backend, "a")
        async with run as runtime:
            loads = asyncio.create_task(runtime.submit("a", inputs["a"]))
            joined = asyncio.create_task(runtime.submit("a", inputs["a"]))
            behind = asyncio.create_task(runtime.submit("b", inputs["b"]))  # waits for the load channel
            await asyncio.sleep(0.05)
            joined.cancel()
            behind.cancel()
            await asyncio.wait([joined, behind])
            assert len(runtime.engine.desk.waiting) == 1
            assert runtime.engine.allocator.models["b"].state.value == "absent"
            loads.cancel()
            await asyncio.wait([loads])  # else the load's own thread may be there first
            slow.go_on.set()
        assert [Outcome(o) for o in runtime.recorder.outcomes] == [Outcome.CANCELLED] * 3

    asyncio.run(asyncio.wait_for(main(), 30))


def test_closing_finishes_what_is_under_way(tmp_path, models, inputs):
    async def main():
        run = Run(tmp_path, settings(5), models)
        slow = run.runtime.backend = Slow(run.runtime.backend, "a")
        async with run as runtime:
            asked = asyncio.create_task(runtime.infer("a", inputs["a"]))
            await asyncio.sleep(0.02)
            asyncio.get_running_loop().call_later(0.1, slow.go_on.set)
        assert len(await asked) > 0

    asyncio.run(asyncio.wait_for(main(), 30))


def test_metrics_are_served_on_loopback(tmp_path, models, inputs):
    pytest.importorskip("prometheus_client")

    async def main():
        async with Run(tmp_path, settings(3), models, metrics_port=0) as runtime:
            await runtime.infer("a", inputs["a"])
            await runtime.infer("a", inputs["a"])
            url = f"http://127.0.0.1:{runtime.metrics.port}/metrics"
            answer = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read().decode())
            for line in (
                'vramlab_requests_total{outcome="hit"} 1.0',
                "vramlab_latency_seconds_count 2.0",
                'vramlab_model_state{model="a",state="resident"} 1.0',
                f"vramlab_held_bytes {2 * MIB:.6g}".replace("2.09715e+06", "2.097152e+06"),
            ):
                assert line in answer, answer

    asyncio.run(main())


def test_metrics_are_refused_under_another_hosts_name(tmp_path, models, inputs):
    pytest.importorskip("prometheus_client")

    def asked(port, host):
        request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Host": host})
        try:
            return urllib.request.urlopen(request, timeout=10).status
        except urllib.error.HTTPError as error:
            return error.code

    async def main():
        async with Run(tmp_path, settings(3), models, metrics_port=0) as runtime:
            for host, status in (("evil.example", 421), ("localhost", 200), ("[::1]:80", 200), ("x:80", 421)):
                assert await asyncio.to_thread(asked, runtime.metrics.port, host) == status

    asyncio.run(main())


def test_latencies_in_metrics_are_those_of_the_records(tmp_path, models, inputs):
    """Looked at many at a time, and again and again, with requests that have not ended by then."""
    rng = np.random.default_rng(0)
    recorder, latencies, lock = Recorder([]), _Latencies(), threading.Lock()
    waiting, expected = [], []
    for _ in range(50):
        for _ in range(int(rng.integers(20))):
            waiting.append(recorder.arrived("a", float(rng.random())))
        rng.shuffle(waiting)
        while len(waiting) > 5:
            number = waiting.pop()
            outcome = Outcome(int(rng.integers(len(Outcome))))
            finish_s = recorder.arrival_s[number] + float(rng.exponential(0.1))
            recorder.done(number, outcome, finish_s)
            if outcome not in (Outcome.REFUSED, Outcome.FAILED, Outcome.CANCELLED):
                expected.append(finish_s - recorder.arrival_s[number])
        latencies.update(recorder, lock)
        twin = _Latencies()
        for latency_s in expected:
            twin.observe(Outcome.HIT, latency_s)
        assert latencies.counts == twin.counts
        assert latencies.sum_s == pytest.approx(twin.sum_s)


# -- the blocking facade


@pytest.fixture
def blocking(tmp_path, models):
    path = tmp_path / "journal.jsonl"
    with BlockingRuntime(settings(3), models, "cpu-emulated", path) as runtime:
        yield runtime
    held_to(runtime.runtime, path)


def noting(threads):
    """Runs that note the threads in which they are done."""
    return lambda run: lambda given: threads.append(threading.get_ident()) or run(given)


def test_a_hit_runs_in_its_callers_thread(blocking, inputs):
    blocking.infer("a", inputs["a"])
    threads = []
    run_instead(blocking.runtime, "a", noting(threads))
    blocking.infer("a", inputs["a"])
    assert threads == [threading.get_ident()]


def test_threads_share_the_blocking_runtime(blocking, inputs):
    failures = []

    def caller(number):
        rng = np.random.default_rng(number)
        for _ in range(25):
            name = ("a", "b", "secure")[rng.integers(3)]
            try:
                blocking.infer(name, inputs[name])
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert sum(blocking.status().outcomes.values()) == 200


def test_by_hand_from_a_thread(blocking, inputs):
    assert blocking.load("a") == ""
    assert blocking.unload("a") == ""
    assert blocking.preload("b") == ""
    with pytest.raises(RequestFailed):
        blocking.infer("a", {"no such input": np.zeros(1, np.float32)})
    assert len(blocking.records()) == 1


def test_an_interrupted_caller_leaves_nothing_behind(blocking, inputs):
    blocking.infer("a", inputs["a"])

    def interrupted(given):
        raise KeyboardInterrupt

    session = run_instead(blocking.runtime, "a", lambda run: interrupted)
    with pytest.raises(KeyboardInterrupt):
        blocking.infer("a", inputs["a"])
    blocking.runtime.driver.sessions["a", Target.GPU] = session
    assert blocking.runtime.engine.allocator.models["a"].pins == 0
    blocking.infer("a", inputs["a"])


def test_a_closed_runtime_says_so(models, inputs):
    runtime = BlockingRuntime(settings(3), models, "cpu-emulated").open()
    runtime.close()
    runtime.close()
    with pytest.raises(RequestRefused, match="closing"):
        runtime.infer("a", inputs["a"])


def test_a_policy_that_raises_has_failed_its_request_alone(tmp_path, models, inputs):
    """`a` finds free room; `b` would have to evict it, and the policy raises."""
    config = settings(3, "scoring.policy=tests.policies.own:divides")

    async def main():
        async with Run(tmp_path, config, models) as runtime:
            await runtime.infer("a", inputs["a"])
            with pytest.raises(RequestFailed, match=r"^b: policy .*:divides: score of a: found ZeroDivision"):
                await runtime.infer("b", inputs["b"])
            assert (await runtime.submit("secure", inputs["secure"])).outcome is Outcome.FAILED
            with pytest.raises(InputError, match="score of a: found ZeroDivision"):
                await runtime.load("b")
            assert (await runtime.submit("a", inputs["a"])).outcome is Outcome.HIT
            assert [model.score for model in runtime.status().models] == [None] * 3

    asyncio.run(main())


def test_only_a_lone_run_known_to_be_short_is_done_on_the_event_loop(tmp_path, models, inputs):
    """A worker's thread costs more than such a run; any other would keep the loop from its timers."""
    rng = np.random.default_rng(1)
    pair = make_inputs(models["a"].path, 2, rng)
    config = settings(6, "serving.inline_run_ms=200", "serving.gpu_streams=2")

    async def main():
        async with Run(tmp_path, config, models) as runtime:

            async def on_the_loop(given):
                """Whether the run of one request for `a` is done there."""
                threads = []
                session = run_instead(runtime, "a", noting(threads))
                await runtime.infer("a", given)
                runtime.driver.sessions["a", Target.GPU] = session
                return threads == [threading.get_ident()]

            await runtime.infer("a", inputs["a"])
            assert await on_the_loop(inputs["a"])
            assert not await on_the_loop(pair)  # of two items none was seen
            assert await on_the_loop(pair)
            assert await on_the_loop(inputs["a"])

            await runtime.load("b")
            go_on = threading.Event()
            run_instead(runtime, "b", lambda run: lambda given: go_on.wait(5) and run(given))
            other = asyncio.create_task(runtime.infer("b", inputs["b"]))
            await asyncio.sleep(0)
            assert not await on_the_loop(inputs["a"])  # the other waits for nobody
            go_on.set()
            await other

            assert await on_the_loop(inputs["a"])
            await runtime.unload("a")
            await runtime.load("a")
            assert not await on_the_loop(inputs["a"])  # a new session's first runs may be slow
            run_instead(runtime, "a", lambda run: lambda given: time.sleep(0.25) or run(given))
            await runtime.infer("a", inputs["a"])
            assert not await on_the_loop(inputs["a"])  # the last was long

    asyncio.run(main())


def test_no_run_is_done_on_the_event_loop_where_that_is_switched_off(tmp_path, models, inputs):
    async def main():
        async with Run(tmp_path, settings(3, "serving.inline_run_ms=0"), models) as runtime:
            await runtime.infer("a", inputs["a"])
            threads = []
            run_instead(runtime, "a", noting(threads))
            for _ in range(3):
                await runtime.infer("a", inputs["a"])
            assert len(threads) == 3
            assert threading.get_ident() not in threads

    asyncio.run(main())


def test_a_policy_that_raises_for_one_who_waits_leaves_the_one_who_runs_alone(tmp_path, models, inputs):
    """`secure` waits for `a`, whose end has it decided anew."""
    config = settings(3, "scoring.policy=tests.policies.own:divides_at_rest", "serving.inline_run_ms=0")

    async def main():
        async with Run(tmp_path, config, models) as runtime:
            await runtime.infer("a", inputs["a"])
            go_on = threading.Event()
            run_instead(runtime, "a", lambda run: lambda given: go_on.wait(5) and run(given))
            running = asyncio.create_task(runtime.submit("a", inputs["a"]))
            await asyncio.sleep(0)
            waiting = asyncio.create_task(runtime.submit("secure", inputs["secure"]))
            await asyncio.sleep(0)
            assert runtime.engine.waiting_for_room == 1
            go_on.set()
            assert (await running).outcome is Outcome.HIT
            answer = await waiting
            assert answer.outcome is Outcome.FAILED
            assert "ZeroDivisionError" in answer.why

    asyncio.run(main())


def test_the_monitor_outlives_a_policy_that_raises(tmp_path, models, inputs):
    config = settings(
        3, "scoring.policy=tests.policies.own:divides", "optimization.monitoring_interval=0.05",
        "optimization.pressure_available_mb=1000",
    )  # fmt: skip

    async def main():
        async with Run(tmp_path, config, models) as runtime:
            await runtime.infer("a", inputs["a"])
            await asyncio.sleep(0.5)
            assert (await runtime.submit("a", inputs["a"])).outcome is Outcome.HIT

    asyncio.run(main())
    begun = [line for line in read_journal(tmp_path / "journal.jsonl") if line.event == "begin"]
    assert sum(line.task == "monitor" for line in begun) > 2
