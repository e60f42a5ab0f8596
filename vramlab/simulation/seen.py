"""The work of effects that a journal has seen: how long each would have taken with a core of its own.

What a journal says of an effect is from its begin to its end, with the time of others in it that had the same
core. So begins and ends are played back on the cores of the simulated machine
(:mod:`vramlab.simulation.shared_cores`), and of every stretch of time an effect gets its share. Drawing that
work on the same cores gives the journal's times again. Changes of thread and the driver's own work are in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any, NamedTuple

from vramlab.engine.effects import Infer, Load, Target, Unload
from vramlab.engine.journal import Line
from vramlab.runs.samples import Sample
from vramlab.simulation.history import History
from vramlab.simulation.shared_cores import SharedCores

FIRST_LOAD, RELOAD, UNLOAD = "first load", "reload", "seen unload"
_REPORTS = ("end", "fail")


class Seen(NamedTuple):
    """A sample of work, and when it began."""

    begin_s: float
    sample: Sample


def seen_work(lines: Iterable[Line], cores: int = 0, device_cores: int = 0) -> list[Seen]:
    """Return a sample of work for each effect that ended well, in the order of their ends.

    Parameters
    ----------
    lines : iterable of Line
        A journal, from its beginning.
    cores, device_cores : int
        Of the machine, as for :class:`~vramlab.simulation.shared_cores.SharedCores`.

    Returns
    -------
    list of Seen
        ``what`` is a kind of load, unload or run; ``pause_s`` for how long nothing had run before a run.
    """
    playback = _Playback(SharedCores(cores, device_cores))
    reporting = False
    for line in lines:
        if line.event == "arrival":
            playback.items[line.task] = (line.detail or {}).get("items", 1)
        if line.event == "start":
            playback.begin(line, reporting)
        else:
            if line.event in _REPORTS:
                playback.end(line)
            if line.event in ("arrival", "timer", "cancel", "begin", *_REPORTS):  # comes from outside
                reporting = line.event in _REPORTS and line.model is not None
    return playback.seen


class _Playback:
    """Effects under way, each with what it is a sample of and the work that it has had."""

    def __init__(self, cores: SharedCores) -> None:
        self.items: dict[int | str, int] = {}
        self.seen: list[Seen] = []
        self._cores = cores
        self._history = History()
        self._tasks: list[int | str] = []
        self._begun: list[Seen] = []
        self._work_s: list[float] = []
        self._until_s = 0.0

    def begin(self, line: Line, reporting: bool) -> None:
        effect = self._effect_of(line)
        if effect is None:
            return
        self._reckon(line.time_s)
        self._tasks.append(line.task)
        self._begun.append(Seen(line.time_s, self._kind_of(effect, line.time_s, reporting)))
        self._work_s.append(0.0)
        self._history.begin(effect)
        self._cores.begin(effect)

    def end(self, line: Line) -> None:
        if line.model is None or line.task not in self._tasks:
            return
        self._reckon(line.time_s)
        place = self._tasks.index(line.task)
        del self._tasks[place]
        begun, work_s = self._begun.pop(place), self._work_s.pop(place)
        self._history.end(place, line.time_s)
        self._cores.end(place)
        if line.event == "end":
            self.seen.append(Seen(begun.begin_s, begun.sample._replace(seconds=work_s)))

    def _reckon(self, now_s: float) -> None:
        """Share out the time since the last begin or end."""
        elapsed_s, self._until_s = now_s - self._until_s, now_s
        if elapsed_s > 0 and self._tasks:
            sharing = self._cores.sharing() or (1,) * len(self._tasks)
            self._work_s = [
                work_s + elapsed_s / count for work_s, count in zip(self._work_s, sharing, strict=True)
            ]

    def _effect_of(self, line: Line) -> Any:
        what, _, target = (line.what or "").partition(" on ")
        target = target.partition(",")[0]  # "gpu, shrinking"
        if line.model is None:
            return None
        if what == "infer":
            joined = (line.detail or {}).get("joined", ())
            items = sum(self.items.get(task, 1) for task in (line.task, *joined))
            return Infer(line.model, Target(target), items)
        if what == "load":
            return Load(line.model, Target(target))
        return Unload(line.model) if what == "unload" else None

    def _kind_of(self, effect: Any, now_s: float, reporting: bool) -> Sample:
        history, kind = self._history, type(effect)
        if kind is Infer:
            silence_s = history.silence_s(effect.target, now_s)
            how, silence_s = history.how(reporting), inf if silence_s is None else silence_s
            return Sample(effect.model, effect.target.value, how, effect.items, 0.0, silence_s)
        if kind is Load:
            what = FIRST_LOAD if history.is_first(effect) else RELOAD
            return Sample(effect.model, effect.target.value, what, 1, 0.0)
        return Sample(effect.model, Target.GPU.value, UNLOAD, 1, 0.0)
