"""The engine: desk, queues and stories, put together for one run.

From below to above: facts (allocator, effects, requests), gates and queues, the desk, what stories share
(claims, loading, the CPU as second best), those who decide, the stories, and this. A driver runs the stories
(:mod:`vramlab.engine.interpreter`).
"""

from __future__ import annotations

from collections.abc import Callable

from vramlab.allocator.policies.own import PolicyError, Watched
from vramlab.config.errors import InputError
from vramlab.config.schema import Inventory, VramConfig
from vramlab.engine import defragmentation, keep_alive, monitor, preloading
from vramlab.engine.arrival import OnArrival
from vramlab.engine.claims import Claims
from vramlab.engine.commands import Commands
from vramlab.engine.cures import Cures
from vramlab.engine.desk import Desk
from vramlab.engine.effects import Story
from vramlab.engine.fallback import Fallback
from vramlab.engine.journal import Journal
from vramlab.engine.learning import Learning
from vramlab.engine.limits import limits_of
from vramlab.engine.loading import Loading
from vramlab.engine.orders import ARRIVAL
from vramlab.engine.outcomes import Outcome, RecordSink
from vramlab.engine.requests import Answer
from vramlab.engine.scheduler import Scheduler
from vramlab.engine.serving import Serving
from vramlab.engine.shortage import Shortage

ENDLESS = frozenset({monitor.NAME, preloading.NAME, keep_alive.NAME})
"""Stories that go on for ever: a run is over when nothing else is under way."""


class Engine:
    """The serving engine.

    Parameters
    ----------
    config : VramConfig
        All settings.
    inventory : dict of str to ModelSpec
        All models that may be asked for.
    recorder : RecordSink
        Where outcomes, loads and evictions are written down.
    journal : Journal, optional
        Where decisions are written down.
    mapped : bool
        Keep the map of the memory even where it decides nothing (placement ``paged``).

    Attributes
    ----------
    desk : Desk
        Queues, and what else stories share.
    serving : Serving
        Whose :meth:`~.Serving.serve` is the story of a request.
    preloading : Preloading, optional
        Where a predictor is given.
    """

    def __init__(
        self,
        config: VramConfig,
        inventory: Inventory,
        recorder: RecordSink,
        journal: Journal | None = None,
        mapped: bool = True,
    ) -> None:
        desk = self.desk = Desk(config, inventory, recorder, journal, mapped)
        self.config, self.allocator, self.cache, self.ready = config, desk.allocator, desk.cache, desk.ready
        self.recorder = recorder
        claims = Claims(desk)
        learning = Learning(desk, claims)
        self.loading = Loading(desk, claims, learning)
        self.fallback = Fallback(desk, inventory)
        late = config.serving.order != ARRIVAL
        desk.decider = (
            Scheduler(desk, self.loading, self.fallback, inventory) if late else OnArrival(desk, self.loading)
        )
        self.preloading = None
        if config.optimization.predictor is not None:
            self.preloading = preloading.Preloading(desk, self.loading)
            desk.on_leave = self.preloading.left
        shortage = Shortage(desk, self.loading, self.fallback, learning)
        cures = Cures(desk, self.loading, self.fallback, learning, shortage)
        self._keep_alive = keep_alive.keep_alive_of(desk, self.loading)
        if self._keep_alive is not None:
            desk.on_idle = self._keep_alive.idle
        limits = limits_of(desk)
        self.serving = Serving(desk, self.fallback, cures, self.preloading, self._keep_alive, limits)
        self._monitor = monitor.Monitor(desk, self.loading, claims)
        self._commands = Commands(desk, self.loading)

    @property
    def journal(self) -> Journal | None:
        """Where decisions are written down."""
        return self.desk.notes.journal

    @journal.setter
    def journal(self, journal: Journal | None) -> None:
        self.desk.notes.journal = journal

    def on_notice(self, listener: Callable[[str, str | None, int, str], None]) -> None:
        """Let ``listener(what, model, size_bytes, why)`` hear what is learned or done, for a log."""
        self.desk.notes.on_notice = listener

    def tolerate(self, report: Callable[[InputError], object]) -> None:
        """Go on where a user's policy or predictor raises on hearing something; `report` is told.

        For drivers that serve on. Else the error ends the run, as it should a study.
        """
        for zone in self.allocator.zones.values():
            if isinstance(zone.policy, Watched):
                zone.policy.report = report
        if self.preloading is not None:
            self.preloading.tolerate(report)

    # -- stories -----------------------------------------------------------------------------------------

    def story(self, name: str, now_s: float, model: str | None = None) -> Story:
        """One of the engine's own: a loop, ``defragment``, or one of :mod:`.commands`."""
        if model is None and name == monitor.NAME:
            return self._monitor.story(now_s)
        if model is None and name == preloading.NAME and self.preloading is not None:
            return self.preloading.story(now_s)
        if model is None and name == keep_alive.NAME and self._keep_alive is not None:
            return self._keep_alive.story(now_s)
        if model is None and name == defragmentation.NAME:
            return defragmentation.defragment(self.desk, self.loading, now_s)
        return self._commands.story(name, now_s, model)

    def endless_stories(self) -> list[str]:
        """Names of the stories that a driver begins after ``start``, and that end only with the run."""
        optimization = self.config.optimization
        switched_on = (
            (monitor.NAME, optimization.monitor),
            (preloading.NAME, self.preloading is not None),
            (keep_alive.NAME, self._keep_alive is not None),
        )
        return [name for name, on in switched_on if on]

    def cancelled(self, task: int | str, now_s: float) -> Answer | None:
        """A story was cancelled: a request's answer, if it was one."""
        notes = self.desk.notes
        return notes.answer(task, now_s, Outcome.CANCELLED, None) if isinstance(task, int) else None

    def policy_failed(self, task: int | str, now_s: float, error: PolicyError) -> Answer | None:
        """A story has ended because a user's policy failed it: a request's answer, if it was one.

        For drivers that go on then. A request that is being decided holds nothing yet.
        """
        notes = self.desk.notes
        return notes.answer(task, now_s, Outcome.FAILED, None, str(error)) if isinstance(task, int) else None

    # -- for whoever looks on ----------------------------------------------------------------------------

    @property
    def waiting_for_room(self) -> int:
        """How many wait for room or for a load, and where decided on arrival for models in use."""
        return len(self.desk.waiting) - self.desk.waiting.ready + len(self.desk.room.waiters)

    @property
    def waiting_for_gpu(self) -> int:
        """How many wait for a stream alone."""
        return self.desk.waiting.ready + len(self.desk.gpu.waiters)
