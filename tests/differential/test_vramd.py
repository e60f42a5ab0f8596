"""The preset ``vramd`` against vramd itself: its planner, its scheduler and its idle evictor, from PyPI.

The same requests go through a loop of a few lines round vramd's own functions (what its dispatcher does with
one worker) and through our engine as ``vramd``: the same requests must start in the same order and the same
models must leave, in the same order and at the same times. (Extra ``peers``; vramd 0.3.9.)
"""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from tests.servers.running import config_of, run, spec
from vramlab.servers import as_server

planner = pytest.importorskip("vramd.vram_planner", reason="needs vramd: pip install 'vramlab[peers]'")
scheduler_module = pytest.importorskip("vramd.scheduler")
evictor_module = pytest.importorskip("vramd.idle_evictor")
protocol = pytest.importorskip("vramd.protocol")

EVERY_S, IDLE_S, SAFETY_MB = 15.0, 120.0, 384
POINTS = {"high": 20, "medium": 10}


class Clock:
    """What vramd takes for time.monotonic."""

    now_s = 0.0

    def monotonic(self):
        return self.now_s


class Vramd:
    """One worker, as vramd's dispatcher and backend manager have it, round its own decisions."""

    def __init__(self, models, memory_mb, clock):
        self.models, self.memory_mb, self.clock = models, memory_mb, clock
        self.loaded = {}  # name to time of last use
        self.busy = None
        self.started, self.left = [], []
        self.scheduler = scheduler_module.AffinityScheduler()
        self.evictor = evictor_module.IdleEvictor(self, idle_timeout_sec=IDLE_S, check_interval_sec=EVERY_S)

    # what the idle evictor asks of the manager
    def idle_candidates(self, idle_s):
        now = self.clock.now_s
        return [(n, t) for n, t in self.loaded.items() if n != self.busy and now - t >= idle_s]

    def evict(self, name):
        del self.loaded[name]
        self.left.append((round(self.clock.now_s, 6), name))

    @property
    def free_mb(self):
        return self.memory_mb - sum(int(self.models[name].vram_size_mb) for name in self.loaded)

    def take(self, job):
        """Load if need be, run; the time when both are done."""
        spec = self.models[job.backend]
        took_s = 0.0
        if job.backend not in self.loaded:
            peak = planner.peak_vram_mib(int(spec.vram_size_mb), 0, safety_mib=SAFETY_MB)
            snapshots = [
                planner.LoadedBackend(
                    name,
                    int(self.models[name].vram_size_mb),
                    POINTS[self.models[name].priority.value],
                    0,
                    used,
                )
                for name, used in self.loaded.items()
            ]
            for name in planner.plan_eviction(snapshots, peak, self.free_mb):
                self.evict(name)
            assert planner.can_admit(self.free_mb, peak)
            took_s = spec.load_s
        self.started.append(job.seq)
        self.loaded[job.backend] = self.clock.now_s
        self.busy = job.backend
        return self.clock.now_s + took_s + spec.inference_s


def job(seq, time_s, model, models):
    interactive = models[model].priority.value == "high"
    return SimpleNamespace(
        seq=seq, backend=model, created_at=time_s, affinity_cuts=0, cancel_requested=False,
        state=protocol.JOB_QUEUED, _lock=threading.Lock(),
        priority=protocol.PRIORITY_INTERACTIVE if interactive else protocol.PRIORITY_BATCH,
    )  # fmt: skip


def vramd_run(rows, models, memory_mb, clock):
    """All events in the order of time: ends before looks of the evictor before arrivals, as in our engine."""
    server, queue, end_s, look_s = Vramd(models, memory_mb, clock), [], None, EVERY_S
    arrivals = [job(i, t, name, models) for i, (t, name) in enumerate(rows)]
    while arrivals or queue or end_s is not None:
        times = [(end_s, 0), (look_s, 1), (arrivals[0].created_at if arrivals else None, 2)]
        clock.now_s, kind = min((t, k) for t, k in times if t is not None)
        if kind == 0:
            server.loaded[server.busy] = clock.now_s
            server.busy, end_s = None, None
        elif kind == 1:
            server.evictor._check_and_evict()
            look_s += EVERY_S
        else:
            queue.append(arrivals.pop(0))
        if end_s is None and queue:
            picked = server.scheduler.pick_next(queue, set(server.loaded))
            queue.remove(picked)
            end_s = server.take(picked)
    return server


def requests(rng, models, count, mean_s):
    """No two events at one moment: gaps and times have fractions of their own."""
    times = np.cumsum(rng.exponential(mean_s, count)) + rng.random(count) * 1e-3
    names = rng.choice(list(models), count, p=rng.dirichlet(np.full(len(models), 0.7)))
    # the first at 0: a run begins with its first request, and with it the looks of the evictor
    rows = [(round(float(t), 4) + 1e-5, str(name)) for t, name in zip(np.sort(times), names, strict=True)]
    return [(0.0, rows[0][1]), *rows[1:]]


def looks_sorted(left):
    """Who leaves at one look of the idle evictor is in the order of vramd's dict, which means nothing."""
    return sorted(left, key=lambda row: (row[0], row[1] if row[0] % EVERY_S == 0 else ""))


@pytest.mark.parametrize("seed", range(12))
def test_the_same_victims_and_the_same_order_as_vramd_itself(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    models = {
        f"m{i}": spec(
            int(rng.integers(200, 3000)), int(rng.integers(500, 9000)), int(rng.integers(50, 4000)),
            "high" if rng.random() < 0.3 else "medium",
        )
        for i in range(int(rng.integers(4, 12)))
    }  # fmt: skip
    rows = requests(rng, models, 250, float(rng.choice([3.0, 12.0, 40.0])))
    clock = Clock()
    monkeypatch.setattr(scheduler_module, "time", clock)
    monkeypatch.setattr(evictor_module, "time", clock)
    theirs = vramd_run(rows, models, 6000, clock)

    config, inventory = as_server("vramd", config_of(6000, serving={"unload_time_ms": 0}), models)
    ours = run(rows, inventory, config)
    starts = [line.task for line in ours.lines if line.event == "start" and line.what.startswith("infer")]
    assert starts == theirs.started
    last_s = rows[-1][0]
    ours_left = [(t, name) for t, name, _ in ours.left if t <= last_s]
    theirs_left = [(round(t, 3), name) for t, name in theirs.left if t <= last_s]
    assert looks_sorted(ours_left) == looks_sorted(theirs_left)
    assert len(theirs_left) > 20


def test_a_hot_request_jumps_a_cold_head_three_times_as_in_vramd():
    """By hand: hot is loaded and runs until 2; cold waits from 1 on, and three of the hot ones pass it."""
    models = {"hot": spec(1000, 1000, 1000), "cold": spec(1000, 1000, 1000)}
    rows = [(0, "hot"), (1, "cold")] + [(1.1 + i / 10, "hot") for i in range(5)]
    config, inventory = as_server("vramd", config_of(6000), models)
    found = run(rows, inventory, config)
    starts = [line.task for line in found.lines if line.event == "start" and line.what.startswith("infer")]
    assert starts == [0, 2, 3, 4, 1, 5, 6]
