"""A vramlab server in anyone's SimPy model.

Only what SimPy promises to its users is used: ``env.now``, ``env.timeout`` and events. What the server has
under way is on its own agenda; in the environment there is one timeout, for what comes next.
"""

from __future__ import annotations

from collections.abc import Generator
from math import inf, nextafter
from numbers import Integral
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd
import simpy

from vramlab.config.errors import InputError, check_choice, nearest, shown
from vramlab.config.faults import FaultPlan, check_faults
from vramlab.config.loading import check_fit, load_config, load_inventory
from vramlab.config.schema import Inventory, Priority, VramConfig
from vramlab.engine.interpreter import Task
from vramlab.engine.journal import Journal
from vramlab.engine.requests import Request, as_text
from vramlab.runs.frames import frames
from vramlab.runs.recorder import Recorder
from vramlab.runs.records import Records, RequestRecord
from vramlab.servers.preset import as_asked
from vramlab.simulation.replaying import make_driver, make_engine, plain, requests_of
from vramlab.simulation.service_times import ServiceTimes, SpecTimes
from vramlab.traces.trace import Trace, check_models


class Inference(simpy.Event):
    """A request under way; it succeeds with its :class:`~vramlab.runs.records.RequestRecord`.

    As a request for a SimPy resource it is a context manager. Who leaves it early, by an interrupt or a
    timeout, gives the request up::

        with server.infer("detector") as request:
            result = yield request | env.timeout(0.5)
    """

    def __init__(self, env: simpy.Environment, server: Server, number: int, model: str) -> None:
        super().__init__(env)
        self.number, self.model = number, model
        self._server = server

    def cancel(self) -> None:
        """Give the request up, unless it has ended.

        One that waits ends at once. What is being loaded or run goes on to its end, and the request with it.
        """
        self._server.cancel(self)

    def __enter__(self) -> Inference:
        """Return the event."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the request up."""
        self.cancel()


class Server:
    """A GPU server with all that vramlab has: zones, eviction, queues, preloading, monitor, result cache.

    Processes ask it with ``yield server.infer("model")``, beside whatever else is in their environment. What
    is always loaded is there when the server is made.

    Parameters
    ----------
    env : simpy.Environment
        Anyone's, a ``RealtimeEnvironment`` too; times are seconds.
    config : VramConfig, Path or str, optional
        Settings or their file; by default the specification's.
    models : dict of str to ModelSpec, Path or str
        Inventory or its file.
    times : ServiceTimes, optional
        How long effects take; those of the inventory by default. See :mod:`vramlab.simulation.choosing`.
    journal : Journal, optional
        Filled with everything that happens.
    faults : FaultPlan, optional
        What goes wrong.
    rng : Generator, optional
        Decides what goes wrong with a probability; needed only for that.

    Raises
    ------
    InputError
        If a file cannot be used, settings and inventory cannot work together, or the fault plan names a
        model that the inventory lacks.

    Examples
    --------
    >>> import simpy
    >>> env = simpy.Environment()
    >>> server = Server(env, "config/vram_config.yaml", "config/model_config.yaml")
    >>> def user(env):
    ...     yield env.timeout(2.0)
    ...     answer = yield server.infer("genderage.onnx")
    ...     print(f"{answer.outcome.name} on {answer.ran_on}: {answer.latency_s:.3f} s")
    >>> done = env.process(user(env))
    >>> env.run()
    COLD_START on gpu: 0.060 s
    """

    # seven, as `simulate` has them: what may differ between two servers
    def __init__(
        self,
        env: simpy.Environment,
        config: VramConfig | Path | str | None,
        models: Inventory | Path | str,
        times: ServiceTimes | None = None,
        journal: Journal | None = None,
        faults: FaultPlan | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.env = env
        if journal is not None and not isinstance(journal, Journal):
            raise InputError(
                "server", "journal", shown(journal), "a Journal (vramlab.engine.journal), or None"
            )
        config = config if isinstance(config, VramConfig) else load_config(config)
        inventory = load_inventory(models) if isinstance(models, Path | str) else models
        self.config, self.inventory = as_asked(config, inventory)
        check_fit(self.config, self.inventory, "configuration", "inventory")
        self.journal = journal
        check_faults(faults or FaultPlan(), self.inventory, "faults")
        self._recorder = Recorder(list(self.config.zones))
        engine = make_engine(self.config, self.inventory, self._recorder, journal)
        times = times or SpecTimes(self.config, self.inventory)
        self._driver = make_driver(engine, times, faults, rng, self._answered)
        self._agenda = self._driver.agenda
        self._events: dict[int, Inference] = {}  # of requests under way
        self._tasks: dict[int, Task] = {}
        self._wake: simpy.Event | None = None
        self._wake_s = inf
        self._driver.open(float(env.now))
        self._plan()

    def infer(
        self,
        model: str,
        items: int = 1,
        priority: Priority | str | None = None,
        requester: str | None = None,
        input_key: str | None = None,
    ) -> Inference:
        """Ask for a run of a model, now.

        Parameters
        ----------
        model : str
            Name in the inventory.
        items : int
            Along the batch axis.
        priority : Priority or str, optional
            Where it differs from the model's.
        requester : str, optional
            Who asks, for the journal. A whole number, a UUID or bytes become text.
        input_key : str, optional
            Requests of one model with equal keys have equal answers, which may come from the result cache.
            As text, as `requester`.

        Returns
        -------
        Inference
            An event that succeeds with a :class:`~vramlab.runs.records.RequestRecord`. That a request is
            refused or fails is a result, and no exception: look at ``outcome``.

        Raises
        ------
        InputError
            For a model that the inventory lacks, an unknown priority, items that are none, and names that are
            no text.
        """
        if not isinstance(model, str) or model not in self.inventory:
            expected = f"a model of the inventory{nearest(str(model), self.inventory)}"
            raise InputError("request", "model", shown(model), expected)
        if not isinstance(items, Integral) or isinstance(items, bool) or items < 1:
            raise InputError("request", "items", shown(items), "a whole number from 1 on")
        if priority is not None and not isinstance(priority, Priority):
            check_choice("request", "priority", priority, [known.value for known in Priority])
            priority = Priority(priority)
        if requester is not None:
            requester = as_text("requester", requester)
        if input_key is not None:
            input_key = as_text("input_key", input_key)
        return self._ask(Request(str(model), int(items), priority, requester, input_key))

    def replay(self, trace: Trace) -> Generator[simpy.Event, Any, Records]:
        """Play a trace: a process, which ends when all that it set in motion has.

        Its records and journal are those of :func:`vramlab.simulation.replaying.simulate`, if nobody else
        asks the server and its environment began at the trace's first request.

        Raises
        ------
        InputError
            If the trace asks for a model that the inventory lacks, or begins before now.
        """
        check_models(trace, self.inventory)
        if trace.times_s[0] < self.env.now:
            expected = f"requests from now on, which is {self.env.now:g} s"
            raise InputError(trace.source, "row 1 column time_s", trace.times_s[0], expected)
        for time_s, request in zip(plain(trace.times_s), requests_of(trace), strict=True):
            if time_s > self.env.now:
                yield self._timeout_until(time_s)
            self._ask(request)
        while self._driver.busy:
            yield self._timeout_until(max(self._agenda.next_s, self.env.now))
            self._driver.finish(float(self.env.now))
        return self.records

    def cancel(self, request: Inference) -> None:
        """Give a request up, as :meth:`Inference.cancel` does."""
        now_s = self._catch_up()
        task = self._tasks.get(request.number)
        if task is not None:
            self._driver.cancel(task, now_s)
        self._plan()

    @property
    def records(self) -> Records:
        """Outcomes, loads and evictions so far; without ``finish_s`` (NaN) is what is still under way."""
        self._agenda.run_until(nextafter(float(self.env.now), -inf))
        self._plan()
        return self._recorder.records()

    def frames(self) -> dict[str, pd.DataFrame]:
        """The records as tables: ``requests``, ``loads`` and ``evictions``."""
        return frames(self.records)

    # -- time --------------------------------------------------------------------------------------------

    def _catch_up(self) -> float:
        """Let happen what is due. Returns the time.

        That may be long since. Nobody is woken for the monitor and the preloader as long as nothing else is
        under way: so ``env.run()`` ends although they never do, and what they did is made up for here.
        """
        now_s = float(self.env.now)
        self._agenda.run_until(now_s)
        return now_s

    def _plan(self) -> None:
        """See to it that the server is woken when something comes next, if a run has to go on for it."""
        due_s = self._agenda.next_s
        if due_s < self._wake_s and self._driver.busy:
            self._wake_s = due_s
            self._wake = self._timeout_until(max(due_s, self.env.now))
            self._wake.callbacks.append(self._woken)

    def _woken(self, event: simpy.Event) -> None:
        if event is self._wake:  # no later one than is needed by now
            self._wake, self._wake_s = None, inf
            self._driver.finish(float(self.env.now))
            self._plan()

    def _timeout_until(self, time_s: float) -> simpy.Timeout:
        return self.env.timeout(delay_until(time_s, self.env.now))

    # -- requests ----------------------------------------------------------------------------------------

    def _ask(self, request: Request) -> Inference:
        now_s = self._catch_up()
        number = self._recorder.arrived(request.model, now_s)
        event = self._events[number] = Inference(self.env, self, number, request.model)
        task = self._driver.request(number, request, now_s)
        if number in self._events:  # it has not ended at once
            self._tasks[number] = task
        self._plan()
        return event

    def _answered(self, name: int | str, answer: Any) -> None:
        if not isinstance(name, int):
            return  # a story of the engine's own
        event, recorder = self._events.pop(name), self._recorder
        self._tasks.pop(name, None)
        times_s = recorder.arrival_s[name], recorder.finish_s[name]
        event.succeed(RequestRecord(name, event.model, answer.outcome, *times_s, answer.why))


def delay_until(time_s: float, now_s: float) -> float:
    """The delay after which it is `time_s`, to the last bit: ``now + (t - now)`` is not always ``t``.

    Where no delay leads there exactly (from below zero to near zero), the time is the next after it.
    """
    delay_s = time_s - now_s
    while delay_s > 0 and now_s + delay_s > time_s:
        delay_s = nextafter(delay_s, 0.0)
    while now_s + delay_s < time_s:
        delay_s = nextafter(delay_s, inf)
    return delay_s
