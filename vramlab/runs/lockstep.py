"""Lock-step: a journal's outside events are fed back to the engine, and everything else must come out equal.

So we know that one engine serves live and simulated runs. Arrivals, timers, ends and failures of effects of
a recorded run are fed in their order. A fresh engine must come to the same decisions, effects and answers,
line for line.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from vramlab.allocator.placement import Block
from vramlab.allocator.policies.own import PolicyError
from vramlab.config.schema import Inventory, VramConfig
from vramlab.engine.effects import REPLACED, Failure, MemoryReading, Replaced, Story
from vramlab.engine.engine import Engine
from vramlab.engine.gates import Gate
from vramlab.engine.interpreter import Interpreter, Task
from vramlab.engine.journal import OUTSIDE, Journal, Line
from vramlab.engine.outcomes import RecordSink
from vramlab.engine.requests import Request
from vramlab.runs.recorder import Recorder
from vramlab.runs.records import Records

Watch = Callable[[list[Line], Engine], object]
"""Called after each outside event with the journal lines that came of it, and the engine as it stands."""

_essence = itemgetter(*(place for place, name in enumerate(Line._fields) if not name.endswith("_s")))
"""What must be equal: all but times, which follow from the events that are fed."""


@dataclass
class Difference:
    """One place where the replay did not do what the journal says."""

    line: int
    journal: str
    replay: str

    def __str__(self) -> str:
        return f"line {self.line}: the journal has {self.journal}, the replay {self.replay}"


@dataclass
class LockstepReport:
    """What a lock-step replay found.

    Parameters
    ----------
    lines, decisions : int
        Lines compared, and how many of them are decisions.
    differences : list of Difference
        Empty when the journal was followed to the letter; the replay stops at the first.
    records : Records
        Outcomes, loads and evictions of the replay: those of the recorded run.
    layout : list of Block
        The memory map at the end of the lines.
    """

    lines: int
    decisions: int
    records: Records
    differences: list[Difference] = field(default_factory=list)
    layout: list[Block] = field(default_factory=list)


class _Lockstep(Interpreter):
    """A driver that performs nothing: tasks wait until the journal says how their effects ended."""

    def __init__(self, engine: Engine, journal: Journal) -> None:
        super().__init__(engine, journal)
        self.tasks: dict[int | str, Task] = {}

    def start(self, task: Task, now_s: float) -> None:
        self.tasks[task.name] = task
        super().start(task, now_s)

    def perform(self, task: Task, effect: Any) -> None:
        pass  # the journal says how it ends

    def set_timer(self, task: Task, gate: Gate, timeout_s: float) -> None:
        pass  # likewise

    def spawn(self, name: str, story: Story) -> None:
        task = self.tasks[name] = Task(name, story)
        self._go_on(task, None)

    def finished(self, task: Task, value: Any) -> None:
        del self.tasks[task.name]

    def crashed(self, task: Task, error: Exception) -> None:
        """Fail the task where a user's policy raised, as live; anything else is a bug."""
        if not isinstance(error, PolicyError):
            raise error
        self.engine.policy_failed(task.name, self.now_s, error)
        del self.tasks[task.name]


class Follower:
    """A journal that is followed line by line: the engine stands where the recorded one stood.

    Parameters
    ----------
    config, inventory
        Those of the recorded run.
    recorder : RecordSink, optional
        Takes outcomes, loads and evictions.
    watch : callable, optional
        Called after each outside event, for example to look at the memory map.

    Attributes
    ----------
    engine : Engine
        As it stands after the lines so far.
    lines : int
        How many they are.
    difference : Difference or None
        The first that was found; nothing is followed beyond it.
    """

    def __init__(
        self,
        config: VramConfig,
        inventory: Inventory,
        recorder: RecordSink | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._journal = Journal()
        self.recorder: RecordSink = Recorder(list(config.zones)) if recorder is None else recorder
        self.engine = Engine(config, inventory, self.recorder, self._journal)
        self.engine.tolerate(lambda error: None)  # as the live driver does, which has said so in its log
        self._driver = _Lockstep(self.engine, self._journal)
        self._watch = watch
        self._to_come: deque[Line] = deque()  # what the engine has written and the journal has yet to say
        self.lines = 0
        self.difference: Difference | None = None

    @property
    def under_way(self) -> list[int | str]:
        """Names of the tasks under way."""
        return list(self._driver.tasks)

    def follow(self, lines: Iterable[Line]) -> None:
        """Follow the next lines."""
        for line in lines:
            if self.difference is not None:
                return
            self.lines += 1
            if not self._to_come:
                problem = self._happen(line)
                if problem:
                    self.difference = Difference(self.lines, _shown(line), problem)
                    return
            made = self._to_come.popleft()
            if _essence(made) != _essence(line):
                self.difference = Difference(self.lines, _shown(line), _shown(made))

    def _happen(self, line: Line) -> str:
        """Feed an outside event. Returns what is wrong, if it cannot be fed."""
        try:
            problem = _feed(line, self._driver, self.recorder) if line.event in OUTSIDE else "nothing more"
        except Exception as error:  # a journal that was changed may ask for anything
            problem = f"an engine that cannot follow ({type(error).__name__}: {error})"
        made = self._journal.take()
        self._to_come.extend(made)
        if not problem and self._watch is not None:
            self._watch(made, self.engine)
        return problem if problem or made else "nothing more"


def lockstep(
    lines: Sequence[Line], config: VramConfig, inventory: Inventory, watch: Watch | None = None
) -> LockstepReport:
    """Feed a journal back through a fresh engine and compare.

    Parameters
    ----------
    lines : sequence of Line
        A journal, from its beginning.
    config, inventory
        Those of the recorded run.
    watch : callable, optional
        Called after each outside event, for example to look at the memory map.
    """
    recorder = Recorder(list(config.zones))
    follower = Follower(config, inventory, recorder, watch)
    follower.follow(lines)
    differences = [] if follower.difference is None else [follower.difference]
    decisions = sum(line.event == "decision" for line in lines)
    layout = follower.engine.allocator.placement.maps.layout()
    return LockstepReport(len(lines), decisions, recorder.records(), differences, layout)


def _feed(line: Line, driver: _Lockstep, recorder: RecordSink) -> str:
    """Feed one outside event to the driver. Returns what is wrong, if it cannot be fed."""
    now_s = line.time_s
    if line.event == "begin":
        driver.begin(str(line.task), now_s, line.model)
        return ""
    if line.event == "arrival":
        if line.model is None or line.model not in driver.engine.allocator.models:
            return f"no model {line.model!r} in the inventory"
        request = Request.noted(line.model, **(line.detail or {}))
        driver.request(recorder.arrived(line.model, now_s), request, now_s)
        return ""
    task = driver.tasks.get(line.task)
    if task is None:
        return f"no running task {line.task!r}"
    if line.event == "timer":
        if task.waiting is None:
            return f"task {line.task!r} is not waiting"
        driver.time_out(task, task.waiting, now_s)
    elif line.event == "cancel":
        driver.cancel(task, now_s)
    elif line.event == "end":
        value: Any = line.size_bytes
        if line.detail == REPLACED:
            value = Replaced(line.size_bytes)
        elif line.what == "readmemory" and line.detail:
            value = MemoryReading(**line.detail)
        elif line.detail and "joined" in line.detail:
            value = {int(number): size for number, size in line.detail.get("answer_bytes", {}).items()}
        driver.resume(task, now_s, value)
    elif line.event == "fail":
        message = (line.detail or {}).get("message", "")
        driver.fail(task, now_s, Failure(line.why), message, line.size_bytes)
    return ""


def _shown(line: Line) -> str:
    parts = (line.event, f"task {line.task}", line.what, line.model, line.zone, line.why, line.detail)
    return ", ".join(str(part) for part in parts if part is not None)
