"""A driver that the test steers, with a journal: every run can be held to lock-step and to the ledgers."""

from tests.engine.hand import settings, spec  # noqa: F401 (for the tests)
from vramlab.allocator.invariants import check
from vramlab.engine.effects import Infer, Load, MemoryReading, ReadMemory, Unload, describe_effect
from vramlab.engine.engine import Engine
from vramlab.engine.interpreter import Interpreter, Task
from vramlab.engine.journal import Journal
from vramlab.engine.outcomes import Outcome
from vramlab.engine.requests import Request
from vramlab.runs.lockstep import lockstep
from vramlab.runs.recorder import Recorder

LISTS = {
    "resident": "there",
    "in use": "there",
    "absent": "absent",
    "evicting": "absent",
    "loading": "coming",
}


def check_waiting(engine):
    """The sorted lists of those who wait are what they would be if they were made anew."""
    waiting = engine.desk.waiting
    expected = {"there": [], "absent": [], "coming": []}
    turns = []
    for model in engine.allocator.models.values():
        its = [entry for entry in waiting if entry.model is model]
        if its:
            place = min(entry.place for entry in its)
            expected[LISTS[model.state.value]].append((place, model.name))
            if LISTS[model.state.value] == "there":
                turns.append((min(entry.turn for entry in its), model.name))
        assert model.wanted == (place if its else None)
    for name, entries in expected.items():
        assert _names(getattr(waiting, name)) == sorted(entries)
    assert _names(waiting.turns) == sorted(turns)


def _names(listed):
    return [((due_s, number), group.model.name) for due_s, number, group in listed]


class SteeredDriver(Interpreter):
    def __init__(self, config, inventory):
        self.config, self.inventory = config, inventory
        self.recorder = Recorder(list(config.zones))
        journal = Journal()
        super().__init__(Engine(config, inventory, self.recorder, journal), journal)
        self.tasks, self.answers, self.timers = {}, {}, {}

    # -- the interpreter's side

    def start(self, task, now_s):
        self.tasks[task.name] = task
        super().start(task, now_s)

    def spawn(self, name, story):
        task = self.tasks[name] = Task(name, story)
        self._go_on(task, None)

    def perform(self, task, effect):
        pass

    def set_timer(self, task, gate, timeout_s):
        self.timers[task.name] = gate

    def finished(self, task, value):
        del self.tasks[task.name]
        self.answers[task.name] = value

    # -- the test's side

    @staticmethod
    def waits(task):
        return task.waiting is not None and task in task.waiting.waiters

    @property
    def under_way(self):
        """Name of each task that has an effect under way, and which."""
        shown = {}
        for name, task in self.tasks.items():
            if not self.waits(task):
                what, model = describe_effect(task.effect)
                shown[name] = f"{what} {model}" if model else what
        return shown

    @property
    def waiting(self):
        return [name for name, task in self.tasks.items() if self.waits(task)]

    def ask(self, model, now_s, **more):
        number = self.recorder.arrived(model, now_s)
        self.request(number, Request.noted(model, **more), now_s)
        return number

    def end(self, name, now_s, value=None):
        self.resume(self.tasks[name], now_s, value)

    def fails(self, name, now_s, kind, message=""):
        self.fail(self.tasks[name], now_s, kind, message)

    def give_up(self, name, now_s):
        self.cancel(self.tasks[name], now_s)

    def reading(self, available_mb):
        total = self.config.total_bytes
        return MemoryReading(total, total - int(available_mb * 2**20))

    def serve_fully(self, model, now_s):
        number = self.ask(model, now_s)
        while number in self.tasks:
            self.end(number, now_s)

    def outcome(self, number):
        return Outcome(self.recorder.outcomes[number])

    def whats(self, event):
        return [(line.what, line.model) for line in self.journal if line.event == event]

    def check_now(self):
        """Nothing that must never be."""
        check(self.engine.allocator)
        running = [task.effect for task in self.tasks.values() if not self.waits(task)]
        loads = [effect.model for effect in running if type(effect) is Load and effect.target.value == "gpu"]
        assert len(loads) == len(set(loads)), "a model is loaded twice at once"
        used = {effect.model for effect in running if type(effect) is Infer and effect.target.value == "gpu"}
        leaving = {effect.model for effect in running if type(effect) is Unload}
        assert not used & leaving, "a model in use is unloaded"
        if self.config.serving.order != "arrival":
            check_waiting(self.engine)
        reading = sum(type(effect) is ReadMemory for effect in running)
        assert len(running) - reading <= len(self.tasks)

    def check_at_rest(self):
        """Nobody is left: no pins, no waiters, all slots free; and the journal leads to the same run."""
        engine = self.engine
        assert not self.tasks
        check(engine.allocator)
        assert all(model.pins == 0 for model in engine.allocator.models.values())
        assert engine.loading.idle
        assert not engine.waiting_for_room
        assert not engine.waiting_for_gpu
        assert all(model.wanted is None for model in engine.allocator.models.values())
        serving = self.config.serving
        for slots, count in (
            (engine.desk.gpu, serving.gpu_streams),
            (engine.desk.channel, serving.load_channels),
            (engine.desk.cpu, serving.cpu_workers),
        ):
            assert slots.free == count
            assert not slots.waiters
        assert not engine.fallback.loading
        report = lockstep(list(self.journal), self.config, self.inventory)
        assert not report.differences, str(report.differences[0])
        assert report.records.outcomes.tolist() == list(self.recorder.outcomes)
