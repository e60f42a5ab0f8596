"""A whole trace on simulated time: the fast way, without an environment.

Its arrivals are merged with the agenda. :meth:`vramlab.simulation.server.Server.replay` is the same as an
ordinary SimPy process; a test holds both equal, to the last byte of the journal.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any

import numpy as np

from vramlab.config.collecting import collecting_rarely
from vramlab.config.faults import FaultPlan
from vramlab.config.schema import Inventory, VramConfig
from vramlab.engine.engine import Engine
from vramlab.engine.journal import Journal
from vramlab.engine.requests import Request, each_of
from vramlab.runs.recorder import Recorder
from vramlab.runs.records import Records
from vramlab.simulation.driver import Answered, SimulatedDriver
from vramlab.simulation.faults import Faults
from vramlab.simulation.machine import SharedMachine
from vramlab.simulation.service_times import ServiceTimes, SpecTimes
from vramlab.simulation.shared import SharedDriver
from vramlab.simulation.watching import pieces
from vramlab.traces.trace import Trace, check_models


# seven, and all but the first three may be left out: what may differ between two replays of a trace
@collecting_rarely()
def simulate(
    trace: Trace,
    config: VramConfig,
    inventory: Inventory,
    times: ServiceTimes | None = None,
    journal: Journal | None = None,
    faults: FaultPlan | None = None,
    rng: np.random.Generator | None = None,
) -> Records:
    """Replay a trace through the engine on simulated time.

    Parameters
    ----------
    trace : Trace
        Requests.
    config : VramConfig
        Settings.
    inventory : dict of str to ModelSpec
        Models; every model of the trace must be in it.
    times : ServiceTimes, optional
        How long effects take; those of the inventory by default. With a
        :class:`~vramlab.simulation.machine.SharedMachine` effects change each other's speed.
    journal : Journal, optional
        Filled with everything that happens.
    faults : FaultPlan, optional
        What goes wrong (:mod:`vramlab.simulation.faults`).
    rng : Generator, optional
        Decides what goes wrong with a probability; needed only for that.

    Returns
    -------
    Records
        One outcome per request, and all loads and evictions.

    Raises
    ------
    InputError
        If the trace asks for a model that the inventory lacks.
    """
    check_models(trace, inventory)
    recorder = Recorder(list(config.zones))
    recorder.expect(trace.model_names, trace.model_codes, trace.times_s)
    engine = make_engine(config, inventory, recorder, journal)
    driver = make_driver(engine, times or SpecTimes(config, inventory), faults, rng)
    play(trace, driver)
    return recorder.records()


def play(trace: Trace, driver: SimulatedDriver) -> None:
    """Serve a whole trace; what is always loaded is there when the first request comes."""
    driver.open(float(trace.times_s[0]))
    driver.agenda.merge(_watched(trace.times_s), requests_of(trace), driver.request)
    driver.finish()


def make_engine(
    config: VramConfig, inventory: Inventory, recorder: Recorder, journal: Journal | None
) -> Engine:
    """Make an engine, which keeps a map of the memory only where that decides something."""
    maps_matter = config.placement == "contiguous" or config.optimization.defragmentation == "always"
    return Engine(config, inventory, recorder, journal, mapped=maps_matter)


def make_driver(
    engine: Engine,
    times: ServiceTimes,
    plan: FaultPlan | None = None,
    rng: np.random.Generator | None = None,
    answered: Answered | None = None,
) -> SimulatedDriver:
    """Make the driver for these service times, under a fault plan if there is one."""
    faults = None
    if plan:
        faults = Faults(plan, rng or np.random.default_rng(0), engine)
    if isinstance(times, SharedMachine):
        return SharedDriver(engine, times, faults, answered)
    return SimulatedDriver(engine, times, faults, answered)


def requests_of(trace: Trace) -> Iterator[Request]:
    """Give the requests of a trace in order; those that ask for a model alone share one per model."""
    names, codes = trace.model_names, plain(trace.model_codes)
    columns = trace.priorities, trace.requesters, trace.input_keys
    if all(column is None for column in columns) and (trace.items == 1).all():
        alike = [Request(name) for name in names]
        return map(alike.__getitem__, codes)
    given = [repeat(None) if column is None else plain(column) for column in columns]
    return each_of(names, codes, plain(trace.items), *given)


def plain(values: np.ndarray) -> Iterator[Any]:
    """Give the values as Python's own, as they are needed: ten million at once would take 500 MB."""
    pieces = range(0, len(values), 65_536)
    return chain.from_iterable(values[start : start + 65_536].tolist() for start in pieces)


def _watched(times_s: np.ndarray) -> Iterator[float]:
    """As :func:`plain`, and tell who watches how far the replay is."""
    return chain.from_iterable(times_s[piece].tolist() for piece in pieces(len(times_s), 65_536))
