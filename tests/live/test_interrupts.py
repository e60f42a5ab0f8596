"""Signals, second event loops, log handlers and hooks that call back: none of them harms a decision."""

import asyncio
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.live.instead import run_instead
from tests.live.test_runtime import MIB, held_to, inputs, models, settings  # noqa: F401 (fixtures)
from vramlab.config.loading import write_config, write_inventory
from vramlab.engine.effects import Target
from vramlab.engine.outcomes import Outcome
from vramlab.live.blocking import BlockingRuntime
from vramlab.live.interrupts import GUARD, Guard, State
from vramlab.live.runtime import LiveRuntime, RequestFailed, RequestRefused
from vramlab.live.tasks import Caller

main_only = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")


@pytest.fixture(autouse=True)
def pythons_own_handler():
    """Others may have left theirs."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


# -- signals


class Interrupted(Exception):
    pass


@main_only
def test_interrupts_at_any_moment_leave_nothing_behind(tmp_path, models, inputs):  # noqa: F811
    """As a notebook's stop button; the timer strikes within microseconds of anything a request does."""
    rng = random.Random(7)

    def strike(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, strike)
    runtime = BlockingRuntime(settings(3), models, "cpu-emulated", tmp_path / "journal.jsonl").open()
    names, interrupted = list(models), 0
    try:
        for _ in range(300):
            try:
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.0001, 0.006))
                while True:
                    runtime.infer(rng.choice(names), inputs["a"])
            except KeyboardInterrupt:
                interrupted += 1
            except RequestFailed:
                pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
    assert interrupted == 300
    closing = threading.Thread(target=runtime.close)
    closing.start()
    closing.join(20)
    assert not closing.is_alive(), f"still under way: {list(runtime.runtime.driver.tasks)}"
    signal.signal(signal.SIGALRM, before)
    held_to(runtime.runtime, tmp_path / "journal.jsonl")


def test_a_signal_waits_while_the_main_thread_is_busy_and_interrupts_its_waiting():
    guard, heard = Guard(), []

    def handler(number, frame):
        heard.append((number, guard.state))
        if len(heard) == 2:
            raise Interrupted

    before = signal.signal(signal.SIGINT, handler)
    try:
        outer = guard.enter()
        os.kill(os.getpid(), signal.SIGINT)
        assert heard == []  # a decision
        inner = guard.enter()
        guard.leave(inner)
        assert heard == []
        guard.leave(outer)
        assert heard == [(signal.SIGINT, State.FREE)]
        state = guard.enter()
        guard.state = State.WAITING
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGINT)
        assert guard.state is State.BUSY  # what must be put in order now is safe
        os.kill(os.getpid(), signal.SIGINT)
        assert len(heard) == 2
        guard.leave(state)
        assert len(heard) == 3
        os.kill(os.getpid(), signal.SIGINT)
        assert heard[-1] == (signal.SIGINT, State.FREE)
        guard.tidy()
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_handler_that_raises_keeps_no_other_from_its_turn():
    guard, heard = Guard(), []

    def handler(number, frame):
        heard.append(number)
        raise Interrupted

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, handler) for number in numbers]
    try:
        state = guard.enter()
        for number in numbers:
            os.kill(os.getpid(), number)
        with pytest.raises(Interrupted):
            guard.leave(state)
        assert sorted(heard) == sorted(numbers)
    finally:
        for number, one in zip(numbers, before, strict=True):
            signal.signal(number, one)


def test_the_handlers_of_before_are_back_when_the_last_runtime_is_closed(models, inputs):  # noqa: F811
    before = signal.getsignal(signal.SIGINT)
    with BlockingRuntime(settings(3), models, "cpu-emulated") as runtime:
        runtime.infer("a", inputs["a"])
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
    assert GUARD.state is State.FREE
    with pytest.raises(RequestRefused):
        runtime.infer("a", inputs["a"])
    with pytest.raises(RequestRefused):
        asyncio.run(runtime.runtime.infer("a", inputs["a"]))
    assert signal.getsignal(signal.SIGINT) is before  # still: nobody would put them back


def test_a_request_that_ends_while_a_signal_is_handled_has_its_answer(tmp_path, models, inputs):  # noqa: F811
    """The handler runs once the request's future is made and the lock let go, and it takes its time."""
    go, ended = threading.Event(), threading.Event()

    def handler(number, frame):
        go.set()
        assert ended.wait(20)

    def strike(driver, locked):
        with driver.lock:
            locked.set()
            while GUARD.state is not State.BUSY:
                time.sleep(0.001)
            os.kill(os.getpid(), signal.SIGINT)

    def watch(driver, task):
        while task.name in driver.tasks:
            time.sleep(0.001)
        ended.set()

    async def main():
        path = tmp_path / "journal.jsonl"
        async with LiveRuntime(
            settings(3, "serving.inline_run_ms=0"), models, "cpu-emulated", path
        ) as runtime:
            await runtime.load("a")
            run_instead(runtime, "a", lambda run: lambda given: (go.wait(20), run(given))[1])
            driver, caller, locked = runtime.driver, Caller(False), threading.Event()
            request, feeds = runtime.reception.request("a", inputs["a"], None, None, None)
            signal.signal(signal.SIGINT, handler)
            task = driver.submit(request, feeds, caller)
            threading.Thread(target=strike, args=(driver, locked), daemon=True).start()
            threading.Thread(target=watch, args=(driver, task), daemon=True).start()
            locked.wait(20)
            future = driver.ending(task, caller)
            assert future is not None
            assert (await future).outcome is Outcome.HIT
            assert ended.is_set()
        held_to(runtime, path)

    asyncio.run(main())


INTERRUPTED_CLOSE = """
import signal, sys, threading, time
from pathlib import Path
from vramlab.config.loading import load_config, load_inventory
from vramlab.live.blocking import BlockingRuntime
config, inventory = load_config(sys.argv[2]), load_inventory(sys.argv[1])
runtime = BlockingRuntime(config, inventory, "cpu-emulated")
runtime.open()
real = runtime.runtime.backend.open
runtime.runtime.backend.open = lambda *given: time.sleep(0.5) or real(*given)
loading = threading.Thread(target=lambda: runtime.load("a"), daemon=True)
loading.start()
time.sleep(0.2)
signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
signal.setitimer(signal.ITIMER_REAL, 0.1)
try:
    runtime.close()
except KeyboardInterrupt:
    print("interrupted")
runtime.close()
assert not runtime.runtime.driver.sessions
assert not [t for t in threading.enumerate() if t.name.startswith("vramlab")]
print("closed")
"""


@main_only
def test_a_close_that_is_interrupted_goes_on(tmp_path, models):  # noqa: F811
    write_inventory(models, tmp_path / "models.yaml")
    write_config(settings(3), tmp_path / "config.yaml")
    out = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_CLOSE, tmp_path / "models.yaml", tmp_path / "config.yaml"],
        capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert out.stdout.split() == ["interrupted", "closed"], out.stderr


@main_only
def test_an_open_that_is_interrupted_leaves_nothing_behind(tmp_path, models):  # noqa: F811
    always = {"a": models["a"].model_copy(update={"always_loaded": True})}
    runtime = BlockingRuntime(settings(3), always, "cpu-emulated", tmp_path / "journal.jsonl")
    backend = runtime.runtime.backend
    real = backend.open
    backend.open = lambda *given: time.sleep(0.5) or real(*given)

    def strike(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, strike)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            runtime.open()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("vramlab")]
    assert not runtime.runtime.driver.sessions
    held_to(runtime.runtime, tmp_path / "journal.jsonl")


def test_an_open_that_fails_leaves_no_thread(tmp_path, models):  # noqa: F811
    first = LiveRuntime(settings(3), models, "cpu-emulated")
    second = BlockingRuntime(settings(3), models, "cpu-emulated")
    second.runtime = first

    async def once():
        async with first:
            pass

    asyncio.run(once())
    with pytest.raises(RuntimeError, match="opened once"):
        second.open()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("vramlab")]
    BlockingRuntime(settings(3), models, "cpu-emulated").close()  # never opened


# -- other event loops


def test_an_answer_comes_to_the_event_loop_that_asked(tmp_path, models, inputs):  # noqa: F811
    path = tmp_path / "journal.jsonl"
    with BlockingRuntime(settings(3), models, "cpu-emulated", path) as runtime:
        live = runtime.runtime

        async def elsewhere():
            answers = [await live.submit(name, inputs[name]) for name in ("a", "a", "b", "secure")]
            assert await live.unload("secure") == ""
            assert await live.load("a") == ""
            return [answer.outcome for answer in answers]

        outcomes = asyncio.run(asyncio.wait_for(elsewhere(), 20))
        assert outcomes[:2] == [Outcome.COLD_START, Outcome.HIT]

        async def gives_up():
            asked = asyncio.create_task(live.submit("b", inputs["b"]))
            await asyncio.sleep(0)
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)

        for _ in range(5):
            asyncio.run(gives_up())  # this loop is gone when an answer may come
    held_to(live, path)


def test_nothing_is_said_of_a_loop_that_ended_after_its_caller_had_given_up(models, inputs, caplog):  # noqa: F811
    go = threading.Event()
    with BlockingRuntime(settings(3), models, "cpu-emulated") as runtime:
        live = runtime.runtime
        runtime.load("a")
        run_instead(live, "a", lambda run: lambda given: (go.wait(20), run(given))[1])

        async def gives_up():
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(live.submit("a", inputs["a"]), 0.01)

        asyncio.run(gives_up())
        assert live.driver.tasks
        go.set()
    assert "event loop has ended" not in caplog.text


# -- code of others


class Asks(logging.Handler):
    """A log handler that asks the runtime for its status, and takes its time."""

    def __init__(self, runtime):
        super().__init__()
        self.runtime, self.seen, self.seconds = runtime, [], 0.0

    def emit(self, record):
        time.sleep(self.seconds)
        self.seen.append((record.getMessage(), self.runtime.status().held_bytes))


def test_a_log_handler_may_ask_for_the_status_and_blocks_nobody(tmp_path, models, inputs):  # noqa: F811
    path = tmp_path / "journal.jsonl"
    with BlockingRuntime(settings(5), models, "cpu-emulated", path) as runtime:
        handler = Asks(runtime)
        handler.seconds = 1.0
        logger = logging.getLogger("vramlab.live")
        logger.addHandler(handler)
        try:
            begin = time.perf_counter()
            runtime.infer("b", inputs["b"])
            runtime.runtime.backend.device.lose(2 * MIB)
            runtime.infer("a", inputs["a"])  # the device is smaller than was thought: the log hears of it
            for _ in range(20):
                runtime.infer("a", inputs["a"])
            assert time.perf_counter() - begin < 1.0
            for _ in range(200):
                if handler.seen:
                    break
                time.sleep(0.05)
        finally:
            logger.removeHandler(handler)
    assert handler.seen[0][0].startswith("budget device")
    held_to(runtime.runtime, path)


class Raises(logging.Handler):
    def emit(self, record):
        raise OSError("the disk of the log is full")


def test_a_log_handler_that_raises_stops_nothing(tmp_path, models, inputs, capsys):  # noqa: F811
    handler = Raises()
    logging.getLogger("vramlab.live.driver").addHandler(handler)
    try:
        with BlockingRuntime(settings(5), models, "cpu-emulated", tmp_path / "j.jsonl") as runtime:
            runtime.infer("b", inputs["b"])
            runtime.runtime.backend.device.lose(2 * MIB)
            for _ in range(3):
                runtime.infer("a", inputs["a"])
    finally:
        logging.getLogger("vramlab.live.driver").removeHandler(handler)
    assert "a log handler raised OSError" in capsys.readouterr().err


def test_a_worker_goes_on_after_whatever_a_session_raises(tmp_path, models, inputs, caplog):  # noqa: F811
    async def main():
        config = settings(3, "serving.inline_run_ms=0")
        runtime = LiveRuntime(config, models, "cpu-emulated", tmp_path / "j.jsonl")
        async with runtime:
            await runtime.infer("a", inputs["a"])

            def ends_it_all(given):
                raise SystemExit("enough")

            session = run_instead(runtime, "a", lambda run: ends_it_all)
            for _ in range(5):  # more than there are threads
                with pytest.raises(RequestFailed, match="interrupted"):
                    await runtime.infer("a", inputs["a"])
            runtime.driver.sessions["a", Target.GPU] = session
            await runtime.infer("a", inputs["a"])
        held_to(runtime, tmp_path / "j.jsonl")

    asyncio.run(asyncio.wait_for(main(), 20))
    said = [record for record in caplog.records if "goes on after an error" in record.message]
    assert len(said) == 5
    assert isinstance(said[0].exc_info[1], SystemExit)


RUNTIME = []


def calls_back(model, now_s):
    """A score that asks the runtime."""
    return RUNTIME[0].status().held_bytes


def test_a_policy_that_calls_the_runtime_is_told_so(tmp_path, models, inputs):  # noqa: F811
    config = settings(3, f"scoring.policy={__name__}:calls_back")

    async def main():
        async with LiveRuntime(config, models, "cpu-emulated", tmp_path / "j.jsonl") as runtime:
            RUNTIME[:] = [runtime]
            await runtime.infer("a", inputs["a"])
            with pytest.raises(RequestFailed, match="called from inside a decision"):
                await asyncio.wait_for(runtime.infer("b", inputs["b"]), 10)
            assert runtime.driver.lock.locked() is False
            await runtime.infer("a", inputs["a"])

    asyncio.run(main())
