"""A driver that does nothing by itself: the test says what happens when."""

from vramlab.config.loading import load_config
from vramlab.config.schema import ModelSpec
from vramlab.engine.effects import describe_effect
from vramlab.engine.engine import Engine
from vramlab.engine.interpreter import Interpreter, Task
from vramlab.engine.outcomes import Outcome
from vramlab.engine.requests import Request
from vramlab.runs.recorder import Recorder


def settings(capacity_mb, *overrides):
    """One zone of that size, LRU, no overhead, no retention, no result cache."""
    return load_config(
        None,
        [
            f"total_memory_mb={capacity_mb}",
            "overhead={cuda_context_mb: 0, framework_mb: 0, buffer_mb: 0}",
            f"zones={{flexible: {{size_mb: {capacity_mb}, max_models: null, min_retention_time: 0}}}}",
            "scoring.policy=lru",
            "caching.enable_result_caching=false",
            *overrides,
        ],
    )


def spec(size_mb, **values):
    return ModelSpec(**{"priority": "medium", "vram_size_mb": size_mb, "load_time_ms": 100, **values})


class HandDriver(Interpreter):
    def __init__(self, config, inventory, recorder=None):
        self.recorder = recorder or Recorder(list(config.zones))
        super().__init__(Engine(config, inventory, self.recorder))
        self.tasks = {}
        self.answers = {}
        self.timers = []

    def perform(self, task, effect):
        self.tasks[task.name] = task

    def set_timer(self, task, gate, timeout_s):
        self.tasks[task.name] = task
        self.timers.append((task.name, timeout_s))

    def spawn(self, name, story):
        task = self.tasks[name] = Task(name, story)
        self._go_on(task, None)

    def finished(self, task, value):
        self.tasks.pop(task.name, None)
        self.answers[task.name] = value

    @property
    def under_way(self):
        """Name of each task that has an effect under way, and which."""
        shown = {}
        for name, task in self.tasks.items():
            if task.effect is not None and not (task.waiting is not None and task in task.waiting.waiters):
                what, model = describe_effect(task.effect)
                shown[name] = f"{what} {model}" if model else what
        return shown

    def ask(self, number, model, now_s, **more):
        assert self.recorder.arrived(model, now_s) == number
        self.request(number, Request.noted(model, **more), now_s)

    def end(self, name, now_s, value=None):
        task = self.tasks.pop(name)
        self.last = task.effect
        self.resume(task, now_s, value)

    def fail(self, name, now_s, kind, message=""):
        super().fail(self.tasks.pop(name), now_s, kind, message)

    def time_out_of(self, name, now_s):
        task = self.tasks[name]
        self.time_out(task, task.waiting, now_s)

    def serve_fully(self, model, now_s=0.0):
        number = self.recorder.arrived(model, now_s)
        self.request(number, Request(model), now_s)
        while number in self.tasks:
            self.end(number, now_s)

    def outcomes(self):
        return [Outcome(outcome) for outcome in self.recorder.records().outcomes]

    def held(self):
        return self.engine.allocator.device.held
