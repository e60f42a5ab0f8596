"""The live driver under a scheduler that follows a seed: whatever can fail or be late, does.

In the manner of FoundationDB's simulation. Threads, timers, event loop and clock are a :class:`World` of one
thread, which picks what happens next: a worker ends its job, a timer is due, a request comes, a caller is
interrupted or gives up, the disk of the journal is full, the device loses memory, a model's file is another
one. Sessions, policies and predictors fail as the seed says. After each step the invariants of
:meth:`Run.checked` hold; in the end every caller has heard, nothing is left, and the journal leads to the
same run.

``python -m tests.live.chaos 10000`` tries so many seeds; ``--seed N`` shows one.
"""

import argparse
import heapq
import logging
import random
import sys
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue

import numpy as np

from vramlab.allocator.invariants import check
from vramlab.allocator.policies.lru import LRU
from vramlab.allocator.policies.own import PolicyError
from vramlab.allocator.states import State
from vramlab.config.loading import load_config
from vramlab.config.schema import ModelSpec
from vramlab.engine.cache import Kept
from vramlab.engine.effects import Load, MemoryReading, ReadMemory, Target, Unload
from vramlab.engine.engine import Engine
from vramlab.engine.requests import Answer, Request
from vramlab.live.batches import BatchAxis
from vramlab.live.cores import Cores
from vramlab.live.driver import LiveDriver
from vramlab.live.errors import (
    CorruptModel,
    DeviceFailed,
    DeviceLost,
    NonsenseSize,
    OutOfMemory,
    OwnLimit,
    SessionError,
)
from vramlab.live.tasks import Caller
from vramlab.runs.journal_reading import read_journal
from vramlab.runs.journal_writing import JournalFile
from vramlab.runs.lockstep import lockstep
from vramlab.runs.recorder import Recorder

MIB = 2**20
STEPS = 120
_INTERRUPTS = (KeyboardInterrupt, SystemExit)


class Speechless(Exception):
    def __str__(self):
        raise ValueError("no words")


# -- the world


class Jobs(list):
    """Jobs that workers have taken and not ended yet."""

    put = list.append

    def __init__(self):
        self.workers, self.work = 0, None


class World:
    loop_thread = 0  # nobody's

    def __init__(self):
        self.time_s, self.set_timers = 100.0, 0
        self.queues, self.calls, self.timers, self.said = [], [], [], []
        self.closed = False

    def now_s(self):
        return self.time_s

    def jobs(self):
        self.queues.append(Jobs())
        return self.queues[-1]

    def add_worker(self, jobs, work, cores):
        jobs.workers, jobs.work = jobs.workers + 1, work

    def soon(self, callback, *arguments):
        self.calls.append((callback, arguments))

    def later(self, seconds, callback, *arguments):
        self.set_timers += 1  # of those that are due together, the first comes first
        heapq.heappush(self.timers, (self.time_s + seconds, self.set_timers, callback, arguments))

    def future(self):
        return Promise()

    def resolve(self, future, value, error):
        self.soon(future.keep, value, error)

    def say(self, log, *arguments, **more):
        self.said.append((arguments, more))

    def close(self):
        self.closed = True


class Promise:
    """A future that is awaited by nobody but the end of the test."""

    def __init__(self, inputs=None):
        self.kept, self.inputs = False, inputs

    def keep(self, value, error):
        assert not self.kept, "answered twice"
        self.kept, self.value, self.error = True, value, error
        if self.inputs is not None:
            check_answer(self.inputs, value)


def check_answer(inputs, answer):
    """An answer is that of the request's own items, whoever they were run with."""
    outputs = getattr(answer, "outputs", None)
    outputs = outputs.outputs if isinstance(outputs, Kept) else outputs
    if outputs is not None:
        assert outputs[0].tolist() == inputs["input"][:, 0].tolist(), "somebody else's answer"


# -- what fails


class Session:
    def __init__(self, backend, model, size_bytes):
        self.backend, self.model, self.size_bytes = backend, model, size_bytes
        self.identity = backend.files[model]
        self.taken_bytes = size_bytes or None
        self.axis = BatchAxis(("input",), None)
        self.open = True

    def run(self, inputs):
        assert self.open, f"{self.model} runs, and is closed"
        self.backend.fail("run", OutOfMemory("arena"), SessionError("kernel"), ValueError("x"), Speechless(),
                          KeyboardInterrupt(), SystemExit(3), OwnLimit("arena"), NonsenseSize("2**62"),
                          DeviceFailed("cuDNN"), *self.backend.sticky)  # fmt: skip
        return [inputs["input"][:, 0].copy()]

    def run_and_shrink(self, inputs):
        return self.run(inputs)

    def close(self):
        assert self.open, f"{self.model} is closed twice"
        self.open = False
        self.backend.opened.discard(self)
        self.backend.fail("close", RuntimeError("close"))


class Backend:
    cores = Cores()

    def __init__(self, rng, total_bytes, models):
        self.rng, self.total_bytes = rng, total_bytes
        self.files = dict.fromkeys(models, 0)
        self.opened, self.lost_bytes, self.rate = set(), 0, rng.choice([0.0, 0.02, 0.1, 0.3])
        self.sticky = [DeviceLost("700")] * (rng.random() < 0.1)  # with it a run soon has no device

    def fail(self, what, *errors):
        if self.rng.random() < self.rate:
            raise self.rng.choice(errors)

    def held_bytes(self):
        return sum(session.size_bytes for session in self.opened)

    def open(self, model, target, size_bytes=None):
        self.fail(
            "open", OutOfMemory("weights"), CorruptModel("cut"), OSError("disk"), Speechless(), SystemExit(),
            OwnLimit("weights"), *self.sticky
        )  # fmt: skip
        size_bytes = size_bytes if target is Target.GPU else 0
        if self.held_bytes() + self.lost_bytes + size_bytes > self.total_bytes:
            raise OutOfMemory("the device is full")
        session = Session(self, model, size_bytes)
        self.opened.add(session)
        return session

    def memory(self):
        self.fail("memory", RuntimeError("NVML"), Speechless())
        return MemoryReading(self.total_bytes, min(self.total_bytes, self.held_bytes() + self.lost_bytes))


class Disk:
    def __init__(self, rng):
        self.rng, self.there, self.full = rng, b"", False

    def write(self, data):
        if self.full or self.rng.random() < 0.1:
            raise OSError(28, "No space left on device")
        taken = data[: self.rng.randint(1, len(data))] if self.rng.random() < 0.2 else data
        self.there += taken
        return len(taken)

    def close(self):
        pass


def moody(hook):
    def call(self, *given):
        if self.moods.random() < 0.03:
            raise RuntimeError(f"a bug in {hook}")
        return getattr(LRU, hook)(self, *given)

    return call


class Moody(LRU):
    """LRU whose every method raises now and then, the same in live runs and in lock-step."""

    seed = 0

    def __init__(self):
        super().__init__()
        self.moods = random.Random(Moody.seed)

    for _hook in ("admitted", "used", "removed", "rejected", "grown", "score", "bid", "ranked"):
        locals()[_hook] = moody(_hook)


class MoodyPredictor:
    def __init__(self, models):
        self.moods = random.Random(Moody.seed)

    def observe(self, model, now_s):
        if self.moods.random() < 0.03:
            raise RuntimeError("a bug in observe")

    def probability(self, model, now_s, horizon_s):
        value = self.moods.choice([0.0, 0.4, 0.95, 0.99, float("nan"), 7, "likely", None])
        if value is None:
            raise RuntimeError("a bug in probability")
        return value


# -- a run


def settings(rng):
    pick = rng.choice
    capacity = pick([5, 7, 9])
    order = pick(["arrival", "fifo", "affinity", "backlog", "backlog"])
    policy = pick(["lru", "seed_fixed", f"{__name__}:Moody", f"{__name__}:Moody"])
    overrides = [
        f"total_memory_mb={capacity}",
        "overhead={cuda_context_mb: 0, framework_mb: 0, buffer_mb: 0}",
        f"zones={{flexible: {{size_mb: {capacity}, max_models: {pick(['null', 3])}, "
        "min_retention_time: 0}}",
        f"scoring.policy={policy}",
        f"placement={pick(['paged', 'contiguous'])}",
        f"admission={pick(['always', 'always', 'compete', 'free_only'])}",
        f"fallback.fallback_queue_size={pick([0, 2, 100])}",
        f"caching.result_cache_mb={pick(['0.00003', '1'])}",
        f"serving.gpu_streams={pick([1, 2])}",
        f"serving.load_channels={pick([1, 2])}",
        f"serving.cpu_workers={pick([1, 2])}",
        f"serving.on_miss={pick(['wait', 'wait', 'cpu_while_loading'])}",
        f"serving.order={order}",
        f"serving.max_wait_s={pick([0.05, 2, 300])}",
        f"serving.batching={'false' if order == 'arrival' else pick(['false', 'true', 'true'])}",
        f"serving.release_timeout_ms={pick([50, 5000])}",
        f"serving.load_timeout_ms={pick([50, 5000])}",
        f"optimization.monitoring_interval={pick([0.05, 0.5])}",
        f"optimization.monitor={pick(['true', 'true', 'false'])}",
        f"optimization.unused_after_s={pick([0.05, 300])}",
        f"optimization.pressure_available_mb={pick([0, 1])}",
    ]
    if rng.random() < 0.4:
        overrides += [
            f"optimization.predictor={__name__}:MoodyPredictor",
            "optimization.preload_interval=0.1",
            f"optimization.preload_may_evict={pick(['true', 'false'])}",
            f"optimization.unpreload_after_s={pick(['null', 0.2])}",
        ]
    return load_config(None, overrides)


def inventory(rng):
    return {
        name: ModelSpec(
            priority=rng.choice(["high", "medium", "low"]),
            vram_size_mb=rng.choice([1, 2, 2.5, 4]),
            load_time_ms=10,
            workspace_mb=rng.choice([0, 0.3]),
            cpu_fallback=rng.choice(["none", "cpu_standard"]),
            always_loaded=rng.random() < 0.2,
            batch_size=rng.choice([1, 4, 8]),
            splits=rng.random() < 0.7,
        )
        for name in "abcde"
    }


class BlockedCaller:
    """A thread that runs its own request (:meth:`LiveDriver.serve`), a step at a time."""

    def __init__(self, driver, request, inputs):
        self.driver, self.inputs, self.caller = driver, inputs, Caller(True)
        self.task = driver._begin_request(request, inputs, self.caller)
        self.ended = False

    def message(self):
        caller = self.caller
        message, caller.message = caller.message, None
        if message is None and caller.mailbox is None:
            caller.mailbox = SimpleQueue()
        try:
            return message if message is not None else caller.mailbox.get_nowait()
        except Empty:
            return None

    def step(self, interrupt):
        message = self.message()
        try:
            if interrupt:  # also one that makes us lose a message
                raise KeyboardInterrupt
            if message is None:
                return
            if isinstance(message, tuple):
                self.driver._carry_out(*message)
            else:
                self.ended = True
                answer = self.caller.value
                assert isinstance(answer, Answer) or self.caller.error is not None
                check_answer(self.inputs, answer)
        except _INTERRUPTS:
            self.driver._abandon(self.task)
            self.ended = True


class Run:
    """One seed.

    Parameters
    ----------
    seed : int
        Says everything.
    folder : Path
        For the journal.
    """

    def __init__(self, seed, folder):
        self.rng = rng = random.Random(seed)
        Moody.seed = seed
        self.config, self.models, self.world = settings(rng), inventory(rng), World()
        self.recorder = Recorder(list(self.config.zones))
        self.engine = Engine(self.config, self.models, self.recorder)
        self.backend = Backend(rng, self.config.total_bytes, self.models)
        path = Path(folder) / f"{seed}.jsonl"
        self.journal = JournalFile(path)
        path.unlink()
        self.journal._file.close()
        self.journal._file = self.disk = Disk(rng)
        self.engine.journal = self.journal
        self.driver = LiveDriver(self.engine, self.backend, self.journal, self.world)
        self.promises, self.tasks, self.callers, self.commands = [], [], [], 0
        self.promises.append(self.driver.run_story("start"))

    # -- what may happen

    def arrives(self):
        rng, driver = self.rng, self.driver
        model, items = rng.choice(list(self.models)), rng.choice([1, 1, 3])
        key = rng.choice([None, None, "k", "l", "m"])
        items = items if key is None else 1
        value = rng.random() if key is None else float(ord(key))
        inputs = {"input": np.arange(items)[:, None] + value}
        request = Request(model, items, None, rng.choice([None, "somebody"]), key)
        kind = rng.random()
        if kind < 0.5:
            caller = Caller(False)
            task = driver.submit(request, inputs, caller)
            self.tasks.append(task)
            if task.here is not None:
                self.world.soon(self.caller_runs, task, caller, inputs)
            else:
                self.caller_awaits(task, caller, inputs)
        elif kind < 0.9:
            self.callers.append(BlockedCaller(driver, request, inputs))
        else:
            self.commands += 1
            name = f"{rng.choice(['load', 'preload', 'unload'])} {self.commands}"
            self.promises.append(driver.run_story(name, request.model))

    def caller_runs(self, task, caller, inputs):
        """The one who submitted it has let the loop take a turn; unless it was given up meanwhile."""
        if task.here is not None:
            self.driver.run_here(task)
            self.caller_awaits(task, caller, inputs)

    def caller_awaits(self, task, caller, inputs):
        future = self.driver.ending(task, caller)
        if future is None:
            check_answer(inputs, caller.value)
        else:
            future.inputs = inputs
            self.promises.append(future)

    def works(self):
        queue = self.rng.choice([queue for queue in self.world.queues if queue] or [None])
        if queue is None:
            return
        job = queue.pop(self.rng.randrange(len(queue)))
        with suppress(*_INTERRUPTS):  # the worker goes on
            queue.workers -= queue.work(*job)

    def called(self):
        if self.world.calls:
            callback, arguments = self.world.calls.pop(self.rng.randrange(min(3, len(self.world.calls))))
            callback(*arguments)

    def timed(self):
        if self.world.timers:
            due_s, _, callback, arguments = heapq.heappop(self.world.timers)
            self.world.time_s = max(self.world.time_s, due_s) + self.rng.random() * 0.01
            with suppress(*_INTERRUPTS):
                callback(*arguments)

    def caller_goes_on(self):
        waiting = [caller for caller in self.callers if not caller.ended]
        if waiting:
            self.rng.choice(waiting).step(self.rng.random() < 0.05)

    def given_up(self):
        if self.tasks:
            self.driver.give_up(self.rng.choice(self.tasks))

    def flushed(self):
        self.journal.flush()

    def device_changes(self):
        self.backend.lost_bytes = self.rng.choice([0, MIB, 3 * MIB])

    def file_changes(self):
        self.backend.files[self.rng.choice(list(self.models))] += 1

    def disk_changes(self):
        self.disk.full = not self.disk.full

    GOES_ON = ((works, 8), (called, 6), (caller_goes_on, 6), (timed, 1))
    HAPPENS = (
        *GOES_ON, (arrives, 6), (given_up, 1), (flushed, 1), (device_changes, 0.2), (file_changes, 0.2),
        (disk_changes, 0.2),
    )  # fmt: skip

    def step(self, among):
        kinds, weights = zip(*among, strict=True)
        self.world.time_s += self.rng.expovariate(200)
        (what,) = self.rng.choices(kinds, weights)
        what(self)
        self.checked()

    # -- what must hold

    def checked(self):
        """The ledger is what is held; nothing is between states without an effect under way for it."""
        driver, engine = self.driver, self.engine
        check(engine.allocator)
        assert not engine.ready
        assert not driver.lock.locked()
        in_state = {
            state: {model.name for model in engine.allocator.models.values() if model.state is state}
            for state in State
        }
        on_device = [session for session in self.backend.opened if session.size_bytes]
        there = in_state[State.RESIDENT] | in_state[State.IN_USE] | in_state[State.EVICTING]
        assert sorted(session.model for session in on_device) == sorted(there)
        loading = in_state[State.LOADING]
        reserved = sum(
            engine.allocator.models[name].bytes
            for name in loading
            if not engine.allocator.models[name].claiming
        )
        assert self.backend.held_bytes() + reserved == engine.allocator.device.held
        assert set(engine.loading._ends) == loading
        moving = [task for task in driver.tasks.values() if self.moves(task)]
        claiming = {model.name for model in engine.allocator.claims}
        assert moving or (loading <= claiming and not in_state[State.EVICTING]), in_state
        for queue in self.world.queues[:3]:
            assert len(queue) <= queue.workers, "an effect was begun that no thread is free for"
        for arguments, more in self.world.said:
            if "crashed" in arguments[0] and not isinstance(more["exc_info"], PolicyError):
                raise AssertionError(arguments) from more["exc_info"]

    def moves(self, task):
        """Whether an effect is under way that takes a model from state to state."""
        effect = task.pending
        if type(effect) is ReadMemory:  # of a load that found no memory
            return not effect.after_s
        return type(effect) is Unload or (type(effect) is Load and effect.target is Target.GPU)

    PATIENCE = 20_000  # steps

    def wait_for(self, what, done):
        for _ in range(self.PATIENCE):
            if done():
                return
            self.step(self.GOES_ON)
        raise AssertionError(f"{what}: still under way: {list(self.driver.tasks)}")

    def end(self):
        """All that was begun ends, and then everything is given back."""
        driver, world = self.driver, self.world
        driver.take_no_more(*self.engine.endless_stories())
        self.wait_for("the end of all requests", lambda: not driver.tasks and not world.calls)
        assert driver._idle.is_set()
        self.promises.append(driver.run_story("stop"))
        self.wait_for("the stop", lambda: not driver.tasks and not world.calls)
        for caller in self.callers:
            while not caller.ended:
                caller.step(False)
        while any(world.queues):  # loads that were given up long ago
            self.works()
        self.backend.rate = 0.0
        driver.close()
        assert not self.backend.opened
        assert all(promise.kept for promise in self.promises), "somebody waits for ever"
        assert all(model.state is State.ABSENT for model in self.engine.allocator.models.values())
        serving = self.config.serving
        assert (self.engine.desk.gpu.free, self.engine.desk.channel.free, self.engine.desk.cpu.free) == (
            serving.gpu_streams, serving.load_channels, serving.cpu_workers,
        )  # fmt: skip
        assert not np.isnan(self.recorder.records().finish_s).any(), "a request never ended"

    def verified(self):
        """The journal says it all, and leads to the same run."""
        self.disk.rng = random.Random(1)
        self.disk.full = False
        while self.journal.trouble or len(self.journal) or self.journal.waiting_bytes:
            self.journal.flush()
        self.journal.path.write_bytes(self.disk.there)
        lines = read_journal(self.journal.path)
        self.journal.path.unlink()
        assert not lines.damaged, lines.damaged[0]
        report = lockstep(lines, self.config, self.models)
        assert not report.differences, str(report.differences[0])
        assert report.records.outcomes.tolist() == list(self.recorder.outcomes)
        return lines


def tried(seed, folder):
    """Let one seed happen; raises what it finds."""
    run = Run(seed, folder)
    for _ in range(20):
        run.step(Run.GOES_ON)
    for name in run.engine.endless_stories():
        run.driver.run_story(name)
    for _ in range(STEPS):
        run.step(Run.HAPPENS)
    run.end()
    run.verified()
    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("seeds", nargs="?", type=int, default=200, help="how many seeds, from 0 on")
    parser.add_argument("--seed", type=int, help="only this one")
    given = parser.parse_args()
    seeds = range(given.seeds) if given.seed is None else [given.seed]
    failed = 0
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="vramlab-chaos-") as folder:
        for seed in seeds:
            try:
                tried(seed, folder)
            except Exception:
                failed += 1
                print(f"seed {seed}:\n{traceback.format_exc()}", flush=True)
                if failed >= 5:
                    break
    print(f"{failed} of {len(seeds)} seeds failed" if failed else f"{len(seeds)} seeds, nothing found")
    sys.exit(bool(failed))


if __name__ == "__main__":
    from tests.live import chaos  # by the name that policies are found under

    chaos.main()
