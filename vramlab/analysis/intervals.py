"""The offline problem: which models to keep in memory from one request for them to the next.

Everything that the bounds and the offline schedules know of a trace stands here. A *step* is a request (runs
of one model are one step where the requested model is in memory anyway). An *interval* lies between two
consecutive steps of one model; keeping the model through it saves the reload. Memory has *rows*: what is
kept at a row and what the row demands by itself must fit.

- ``forced``: one row per step; the requested model is in memory at its own step, so its bytes are taken off
  the row's room and an interval covers only the steps strictly between its ends.
- ``bypass``: a miss may be served without being kept; one row per gap between two steps, and an interval
  covers every gap from its start to its end.

A *group* is a set of models under one cap: the device, a zone, or zones that lend to each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain, combinations
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from vramlab.config.errors import InputError, check_choice, nearest
from vramlab.config.schema import Inventory, ModelSpec, VramConfig, of_each, zone_of
from vramlab.traces.trace import Trace

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

AdmissionRule = Literal["forced", "bypass"]
ADMISSIONS: tuple[AdmissionRule, ...] = ("forced", "bypass")

# Beyond this many sets of places not every union gets a row of its own; leaving rows out keeps a bound valid.
_MAX_PLACE_SETS = 6


class Group(NamedTuple):
    """Models that share a cap: `members` has one flag per model of the trace, `capacity` is in bytes."""

    name: str
    members: Flags
    capacity: int


@dataclass(frozen=True, eq=False)
class Problem:
    """Steps, intervals and groups of one trace.

    Parameters
    ----------
    forced : bool
        Whether the requested model is in memory at its step.
    request, model : ndarray, shape (steps,)
        Index of the step's (first) request in the trace, and its model.
    start, end : ndarray, shape (intervals,)
        Steps at the two ends, in order of `end`.
    size : ndarray, shape (models,)
        Bytes of each model.
    load : ndarray, shape (steps,)
        Cost in seconds of a miss that is kept: the load time, or 0 in the part that does not count.
    skip : ndarray, shape (steps,)
        Cost in seconds of a miss that is not kept: `load`, or less where the CPU answers for less.
    groups : tuple of Group
        Caps; the first is the whole device.
    """

    forced: bool
    request: Indices
    model: npt.NDArray[np.int32]
    start: Indices
    end: Indices
    size: Floats
    load: Floats
    skip: Floats
    groups: tuple[Group, ...]

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.model)

    @property
    def interval_size(self) -> Floats:
        """Bytes kept through each interval."""
        return self.size[self.model[self.end]]

    @property
    def first_row(self) -> Indices:
        """First step whose row an interval covers; the last is ``end - 1``."""
        return self.start + self.forced

    def room(self, group: Group) -> Floats:
        """Return bytes left for kept models at each step's row (steps of other groups' models: the cap)."""
        taken = self.size[self.model] * group.members[self.model] if self.forced else 0.0
        return np.broadcast_to(group.capacity - taken, self.steps)

    def window(self, first: int, last: int) -> Problem:
        """Return steps `first` to `last - 1` on their own; intervals that leave the window are dropped."""
        inside = (self.start >= first) & (self.end < last)
        return replace(
            self,
            request=self.request[first:last],
            model=self.model[first:last],
            load=self.load[first:last],
            skip=self.skip[first:last],
            start=self.start[inside] - first,
            end=self.end[inside] - first,
        )


class Posed(NamedTuple):
    """A problem, and what was taken out of the trace to pose it.

    ``oversized`` flags requests for models that fit nowhere: they are missed whatever one does and take no
    memory. ``repeats`` flags requests that only repeat the one before and are hits for free.
    """

    problem: Problem
    oversized: Flags
    repeats: Flags


def specs_of(trace: Trace, inventory: Inventory) -> list[ModelSpec]:
    """Return the specs of the trace's models, in the order of ``trace.model_names``.

    Raises
    ------
    InputError
        If a model of the trace is not in the inventory.
    """
    for name in trace.model_names:
        if name not in inventory:
            expected = f"a model of the inventory{nearest(name, inventory)}"
            raise InputError(trace.source, "model", repr(name), expected)
    return [inventory[name] for name in trace.model_names]


def model_sizes(trace: Trace, inventory: Inventory) -> tuple[Floats, Floats]:
    """Return bytes and load times in seconds of the models; order and errors as of :func:`specs_of`."""
    specs = specs_of(trace, inventory)
    size = np.array(of_each(specs, lambda spec: spec.footprint_bytes), dtype=np.float64)
    return size, np.array(of_each(specs, lambda spec: spec.load_s), dtype=np.float64)


def pose(
    trace: Trace,
    models: tuple[Floats, Floats],
    memory: tuple[tuple[Group, ...], Flags],
    admission: AdmissionRule,
    skip: Floats | None = None,
    counted_from: int = 0,
) -> Posed:
    """Turn a trace into a :class:`Problem`.

    Parameters
    ----------
    models : tuple of ndarray
        Bytes and load times, as of :func:`model_sizes`.
    memory : tuple
        Groups, and whether a model can be in memory at all, as of :func:`one_group` or :func:`zone_groups`.
    skip : ndarray, shape (requests,), optional
        Cost in seconds of a miss that is not kept, where that is less than loading.
    counted_from : int
        Requests before this one cost nothing, whatever becomes of them.
    """
    check_choice("bound", "admission", admission, ADMISSIONS)
    (size, load), (groups, fits) = models, memory
    codes = trace.model_codes
    forced = admission == "forced"
    request = np.flatnonzero(fits[codes])
    repeats = np.zeros(len(codes), dtype=bool)
    if forced:
        again = np.zeros(len(request), dtype=bool)
        again[1:] = codes[request[1:]] == codes[request[:-1]]
        repeats[request[again]] = True
        request = request[~again]
    model = codes[request]
    by_model = np.argsort(model, kind="stable")
    follows = model[by_model[1:]] == model[by_model[:-1]]
    start, end = by_model[:-1][follows], by_model[1:][follows]
    in_time = np.argsort(end)
    kept = np.where(request < counted_from, 0.0, load[model])
    skipped = kept if skip is None else np.minimum(kept, skip[request])
    problem = Problem(forced, request, model, start[in_time], end[in_time], size, kept, skipped, groups)
    return Posed(problem, ~fits[codes], repeats)


def one_group(size: Floats, capacity_bytes: int) -> tuple[tuple[Group, ...], Flags]:
    """Return the group of all models under one cap, and who fits."""
    if capacity_bytes < 0:
        raise InputError("bound", "capacity_bytes", capacity_bytes, "a size of at least 0")
    group = Group("device", np.ones(len(size), dtype=bool), int(capacity_bytes))
    return (group,), size <= capacity_bytes


def zone_groups(
    trace: Trace, size: Floats, inventory: Inventory, config: VramConfig, borrow: bool = True
) -> tuple[tuple[Group, ...], Flags]:
    """Return the groups that the zones and the device budget impose, and who fits.

    A model may lie in its own zone and in those that lend to its priority. Take every union Z of such sets of
    places. By Hall's theorem a fractional placement exists exactly if, for each Z, the models that may lie
    only in Z fit in Z: one group per union. With `borrow` False every model lies in the first of its places
    that is large enough. The groups are then the zones themselves.
    """
    budget = config.budget_bytes
    caps = {name: zone.size_bytes for name, zone in config.zones.items()}
    places: list[frozenset[str]] = []
    for name, bytes_ in zip(trace.model_names, size, strict=True):
        spec = inventory[name]
        home = zone_of(spec, config, name)
        lenders = [
            zone for zone, its in config.zones.items() if zone != home and spec.priority in its.borrowers
        ]
        large = [zone for zone in (home, *lenders) if bytes_ <= caps[zone]]
        places.append(frozenset(large if borrow else large[:1]))
    fits = np.array([bool(place) for place in places]) & (size <= budget)
    kinds = sorted({place for place in places if place}, key=sorted)
    many = len(kinds) > _MAX_PLACE_SETS
    picks = chain.from_iterable(combinations(kinds, n) for n in ((1,) if many else range(1, len(kinds) + 1)))
    unions = {frozenset().union(*pick) for pick in picks}
    groups = [Group("device", fits.copy(), budget)]
    for union in sorted(unions, key=sorted):
        cap = sum(caps[zone] for zone in union)
        members = np.array([bool(place) and place <= union for place in places]) & fits
        # a group whose models all fit, or that is no tighter than the device, never binds
        if size[members].sum() > cap and not (cap >= budget):
            groups.append(Group("+".join(sorted(union)), members, cap))
    return tuple(groups), fits
