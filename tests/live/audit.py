"""What a live journal must show, read off its lines alone, without the engine."""

from collections import Counter, defaultdict

import numpy as np

LOAD, UNLOAD, RUN = "load on gpu", "unload", "infer on gpu"


class Audit:
    """Raises AssertionError at the first line that must not be.

    Never two loads of one model at once, no load of a model that is there, no run of one that is not, no
    unload of a model that runs, and every request answered once. ``bound_s`` is what no request may wait
    longer than: its time in the line for models in use (``serving.release_timeout_ms``), then, first come
    first served, the runs of all other callers and two rounds of loads of all models, each taking as long as
    the longest that was seen.
    """

    def __init__(self, lines, callers, release_timeout_s):
        self.state = defaultdict(lambda: "absent")
        self.running = Counter()
        self.arrived, self.latency_s, self.in_line, self.line_s = {}, {}, {}, []
        self.durations = defaultdict(list)
        self.outcomes = Counter()
        for line in lines:
            self.read(line)
        assert self.arrived.keys() == self.latency_s.keys(), "somebody was never answered"
        assert not +self.running
        assert set(self.state.values()) <= {"absent"}, "something is left on the device"
        longest = {what: max(self.durations[what], default=0.0) for what in self.durations}
        runs = max(longest.get(RUN, 0.0), longest.get("infer on cpu", 0.0))
        loads = longest.get(LOAD, 0.0) + longest.get(UNLOAD, 0.0) + longest.get("load on cpu", 0.0)
        self.bound_s = release_timeout_s + callers * runs + 2 * len(self.state) * loads
        self.longest_s = max(self.latency_s.values())
        assert self.longest_s <= self.bound_s, f"{self.longest_s:.3f} s, the bound is {self.bound_s:.3f} s"
        assert max(self.line_s, default=0.0) <= release_timeout_s + 1.0

    def read(self, line):
        model, state = line.model, self.state
        if line.event == "arrival":
            self.arrived[line.task] = line.time_s
        elif line.event == "done":
            assert line.task not in self.latency_s, f"{line.task} was answered twice"
            self.latency_s[line.task] = line.time_s - self.arrived[line.task]
            self.outcomes[line.what] += 1
            self.leave_line(line)
        elif line.event == "decision":
            if line.what == "wait":
                self.in_line[line.task] = line.time_s
            else:
                self.leave_line(line)
        elif line.event == "start":
            if line.what == LOAD:
                assert state[model] == "absent", f"{line.time_s}: a load of {model}, which is {state[model]}"
                state[model] = "loading"
            elif line.what == UNLOAD:
                assert state[model] == "there", f"{line.time_s}: unloads {model}, which is {state[model]}"
                assert not self.running[model], f"{line.time_s}: unloads {model}, which runs"
                state[model] = "leaving"
            elif line.what == RUN:
                assert state[model] == "there", f"{line.time_s}: runs {model}, which is {state[model]}"
                self.running[model] += 1
        elif line.event in ("end", "fail"):
            self.durations[line.what].append(line.duration_s)
            if line.what == LOAD:
                state[model] = "there" if line.event == "end" else "absent"
            elif line.what == UNLOAD:
                state[model] = "absent"
            elif line.what == RUN:
                self.running[model] -= 1

    def leave_line(self, line):
        since_s = self.in_line.pop(line.task, None)
        if since_s is not None:
            self.line_s.append(line.time_s - since_s)

    def summary(self):
        latencies_ms = 1000 * np.array(list(self.latency_s.values()))
        p50, p99 = np.percentile(latencies_ms, [50, 99])
        return (
            f"{len(latencies_ms)} requests {dict(self.outcomes)}, {len(self.durations[LOAD])} loads, "
            f"{len(self.durations[UNLOAD])} unloads, {len(self.line_s)} waits in the line (longest "
            f"{max(self.line_s, default=0.0):.2f} s); latency p50 {p50:.1f} ms, p99 {p99:.1f} ms, "
            f"longest {self.longest_s:.2f} s, bound {self.bound_s:.2f} s"
        )
