"""Service times that a run has seen itself: its own samples of work, drawn again in the like situation.

What a journal gives (:mod:`vramlab.simulation.seen`) is drawn for the same model, target and number of items,
in the same situation: a run that begins as its request comes, that waited for another one's end, or that its
model's load has made possible; the first load or a later one. A run that begins at once is drawn from those
before which nothing had run for about as long (a machine falls asleep).

Where there are fewer than :data:`ENOUGH`, the situation's factor is drawn from all models on that target, and
multiplied by the model's own median. Where a model was never seen on a target, its median is that of a
profile; else it is estimated from the other target by the ratio that other models show; else, for a load,
from the model's size by a line through at least :data:`OTHERS` of them; else it is what those parts of the
run have seen that are judged, or an estimate from what these have seen of others. Each says where it came
from (:meth:`RecordedTimes.source`). What none of these tells is an error, not a guess.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from math import isfinite
from statistics import median
from typing import Any, Literal, NamedTuple, cast, get_args

import numpy as np
import pandas as pd

from vramlab.config.errors import InputError
from vramlab.config.schema import Inventory, VramConfig
from vramlab.config.units import ms_to_s
from vramlab.engine.effects import Infer, Load, Target
from vramlab.runs.samples import Sample
from vramlab.simulation.history import AFTER_LOAD, AT_ONCE, QUEUED, History
from vramlab.simulation.seen import FIRST_LOAD, RELOAD, UNLOAD
from vramlab.simulation.service_times import Quantiles, ServiceTimes

ENOUGH = 5
"""Samples of one situation that are drawn from by themselves."""

OTHERS = 3
"""Other models that an estimate from sizes, or of reloads, needs."""

_NEAREST = 16  # runs with the like silence that one is drawn from
_LOADS, _RUNS = (FIRST_LOAD, RELOAD), (AT_ONCE, QUEUED, AFTER_LOAD)
_OTHERS: dict[str, tuple[Origin, str]] = {
    "load": ("profile", "load"),
    "infer": ("profile", "run"),
    "unload": ("profile", "unload"),
    "judged load": ("judged", "load"),
    "judged run": ("judged", "run"),
    "judged unload": ("judged", "unload"),
}

What = Literal["load", "run", "unload"]
Origin = Literal["run", "profile", "estimated", "judged", "unknown"]
ORIGINS: tuple[Origin, ...] = get_args(Origin)
_JUDGED = "judged "
Key = tuple[str, str]
"""Model and target."""

_Medians = dict[tuple[str, Key], dict[int, float]]  # seconds by what and key, and by items


class Source(NamedTuple):
    """Where the times of a model on a target come from.

    Parameters
    ----------
    origin : str
        ``run`` (this one's samples), ``profile``, ``estimated``, ``judged`` (windows that are judged), or
        ``unknown``.
    samples : int
        How many there are of the model itself; of an estimate, of how many other models.
    median_s : float or None
        Of one item, where it is a run.
    """

    origin: Origin
    samples: int = 0
    median_s: float | None = None


class SeenTimes(ServiceTimes):
    """Times that a run has seen, and that know it."""

    def source(self, what: What, model: str, target: Target, items: int = 1) -> Source:
        """Say where such times come from."""
        raise NotImplementedError


class _Drawn:
    """Samples of one situation, by the silence before them."""

    def __init__(self, pairs: Iterable[tuple[float, float]]) -> None:
        ordered = sorted(pairs)
        self.silences_s = [silence_s for silence_s, _ in ordered]
        self.values = [value for _, value in ordered]

    def __len__(self) -> int:
        return len(self.values)

    def draw(self, quantile: float, silence_s: float | None) -> float:
        """Draw one of the samples with the like silence, or of all if that is None."""
        values = self.values
        if silence_s is not None and len(values) > _NEAREST:
            place = bisect_right(self.silences_s, silence_s)
            first = min(max(0, place - _NEAREST // 2), len(values) - _NEAREST)
            values = values[first : first + _NEAREST]
        return values[int(quantile * len(values))]


class RecordedTimes(SeenTimes):
    """Times from a run's own samples of work.

    Parameters
    ----------
    frame : DataFrame
        Samples as :func:`vramlab.simulation.seen.seen_work` gives them, perhaps beside those of a profile.
    config, inventory
        Sizes of the models, and how long an unload takes where none was seen.
    rng : Generator, optional
        Draws samples; without it every time is near a median.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        config: VramConfig,
        inventory: Inventory,
        rng: np.random.Generator | None = None,
    ) -> None:
        self._quantile = Quantiles(rng).next
        self._inventory = inventory
        self._unload_s = ms_to_s(config.serving.unload_time_ms)
        rows = cast(Iterable[Any], frame[frame.beside == ""].itertuples(index=False))
        seen: dict[tuple[str, Key, str, int], list[tuple[float, float]]] = defaultdict(list)
        self._others: dict[tuple[Origin, str, Key], dict[int, list[float]]] = {}
        for row in rows:
            key = row.model, row.target
            what = _what(row.what)
            if what:
                seen[what, key, row.what, row.items].append((row.pause_s, row.seconds))
            elif row.what in _OTHERS:
                by_items = self._others.setdefault((*_OTHERS[row.what], key), defaultdict(list))
                by_items[row.items].append(row.seconds)
        self._medians = self._medians_of(seen)
        self._situations = {key: _Drawn(pairs) for key, pairs in seen.items()}
        self._factors = self._factors_of(seen)
        self._bases: dict[tuple[str, Key, int], tuple[float, Source]] = {}

    # -- what the simulation asks ------------------------------------------------------------------------

    def work_s(self, effect: Any, history: History, now_s: float, reporting: bool) -> float:
        """Draw the work of an effect that begins now; `reporting`: the end of another lets it."""
        kind = type(effect)
        if kind is Infer:
            how = history.how(reporting)
            silence_s = history.silence_s(effect.target, now_s) if how == AT_ONCE else None
            return self._draw("run", effect.model, effect.target, how, effect.items, silence_s)
        if kind is Load:
            how = FIRST_LOAD if history.is_first(effect) else RELOAD
            return self._draw("load", effect.model, effect.target, how)
        return self._draw("unload", effect.model, Target.GPU, UNLOAD)

    def load_s(self, model: str, target: Target) -> float:
        """Draw a reload."""
        return self._draw("load", model, target, RELOAD)

    def unload_s(self, model: str) -> float:
        """An unload."""
        return self._draw("unload", model, Target.GPU, UNLOAD)

    def infer_s(self, model: str, target: Target, items: int) -> float:
        """A run from a queue."""
        return self._draw("run", model, target, QUEUED, items)

    def source(self, what: What, model: str, target: Target, items: int = 1) -> Source:
        """Say where such times come from."""
        try:
            return self._base(what, (model, target.value), items)[1]
        except InputError:
            return Source("unknown")

    # -- drawing -----------------------------------------------------------------------------------------

    def _draw(
        self, what: str, model: str, target: Target, how: str, items: int = 1, silence_s: float | None = None
    ) -> float:
        key = model, target.value
        own = self._situations.get((what, key, how, items))
        if own is not None and len(own) >= ENOUGH:
            return own.draw(self._quantile(), silence_s)
        base_s, _ = self._base(what, key, items)
        factors = self._factors.get((what, key[1], how))
        if factors is not None and len(factors) >= ENOUGH:
            return base_s * factors.draw(self._quantile(), silence_s)
        return own.draw(self._quantile(), silence_s) if own is not None else base_s

    # -- medians and factors -----------------------------------------------------------------------------

    def _medians_of(self, seen: Any) -> _Medians:
        """Medians by what and key, and by items."""
        values: dict[tuple[str, Key], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        for (what, key, _, items), pairs in seen.items():
            values[what, key][items] += [value for _, value in pairs]
        values |= {("load", key): {1: these} for key, these in _reloads(seen).items()}
        return {
            key: {items: median(these) for items, these in sorted(by_items.items())}
            for key, by_items in values.items()
        }

    def _factors_of(self, seen: Any) -> dict[tuple[str, str, str], _Drawn]:
        """What a situation multiplies medians by, of all models on a target."""
        pools: dict[tuple[str, str, str], list[tuple[float, float]]] = defaultdict(list)
        for (what, key, how, items), pairs in seen.items():
            base_s = self._medians[what, key][items]
            if base_s > 0:
                pools[what, key[1], how] += [(silence_s, value / base_s) for silence_s, value in pairs]
        return {key: _Drawn(pairs) for key, pairs in pools.items()}

    def _base(self, what: str, key: Key, items: int) -> tuple[float, Source]:
        """The median of a model's own times, however they are known.

        Raises
        ------
        InputError
            If they are not.
        """
        found = self._bases.get((what, key, items))
        if found is None:
            found = self._bases[what, key, items] = self._found(what, key, items)
        return found

    def _found(self, what: str, key: Key, items: int) -> tuple[float, Source]:
        by_items = self._medians.get((what, key))
        if by_items is not None:
            samples = sum(len(s) for (w, k, _, _), s in self._situations.items() if (w, k) == (what, key))
            base_s = self._of_items(what, key, items)
            return base_s, Source("run", samples, base_s)
        known = self._other("profile", what, key, items)
        if known is not None:
            return known
        estimated = self._estimated(what, key, items, self._medians)
        known = estimated or self._other("judged", what, key, items)
        if known is None:
            known = self._estimated(what, key, items, self._judged_medians() | self._medians)
            known = known and (known[0], known[1]._replace(origin="judged"))
        if known is not None:
            return known
        if what == "unload":
            return self._unload_s, Source("estimated", 0, self._unload_s)
        model, target = key
        did = "ran" if what == "run" else "was loaded"
        raise InputError(
            model, "", f"no {what} on the {target.upper()}: it never {did} there in the recording",
            "a recording or a profile in which it does (`vramlab profile`), or settings that need it not",
        )  # fmt: skip

    def _of_items(self, what: str, key: Key, items: int) -> float:
        """The run's own time where it saw so many items; else in a profile's proportion, if there is one."""
        own = self._medians[what, key]
        measured = self._others.get(("profile", what, key))
        if items in own or not measured:
            return _between(own, items)
        medians = {count: median(these) for count, these in sorted(measured.items())}
        nearest = min(own, key=lambda count: abs(count - items))
        nearest_s = _between(medians, nearest)
        return own[nearest] * _between(medians, items) / nearest_s if nearest_s else _between(own, items)

    def _other(self, origin: Origin, what: str, key: Key, items: int) -> tuple[float, Source] | None:
        """The median of what is not of the run itself."""
        by_items = self._others.get((origin, what, key))
        if by_items is None:
            return None
        base_s = _between({count: median(these) for count, these in sorted(by_items.items())}, items)
        return base_s, Source(origin, sum(map(len, by_items.values())), base_s)

    def _judged_medians(self) -> _Medians:
        """Medians of the windows that are judged."""
        return {
            (what, key): {items: median(these) for items, these in sorted(by_items.items())}
            for (origin, what, key), by_items in self._others.items()
            if origin == "judged"
        }

    def _estimated(self, what: str, key: Key, items: int, medians: _Medians) -> tuple[float, Source] | None:
        """Estimate from other models, if `medians` has enough of them."""
        found = self._by_ratio(what, key, items, medians) or self._by_size(what, key, medians)
        return None if found is None else (found[0], Source("estimated", found[1], found[0]))

    def _by_ratio(self, what: str, key: Key, items: int, medians: _Medians) -> tuple[float, int] | None:
        """Estimate from the model's times on the other target."""
        model, target = key
        other = "cpu" if target == "gpu" else "gpu"
        there = medians.get((what, (model, other)))
        if there is None or what == "unload":
            return None
        ratios = [
            here[least] / by_items[least]
            for (kind, (name, on)), by_items in medians.items()
            if kind == what and on == other and name != model
            for here in [medians.get((what, (name, target)))]
            if here is not None
            for least in [min(by_items)]
            if least in here and by_items[least] > 0
        ]
        if not ratios:
            return None
        return median(ratios) * _between(there, items), len(ratios)

    def _by_size(self, what: str, key: Key, medians: _Medians) -> tuple[float, int] | None:
        """Estimate a load or an unload from the model's size."""
        if what == "run":
            return None
        model, target = key
        others = [
            (self._inventory[name].footprint_bytes, by_items[1])
            for (kind, (name, on)), by_items in medians.items()
            if kind == what and on == target and name in self._inventory
        ]
        if len(others) < OTHERS or len({size for size, _ in others}) < 2:
            return None
        sizes, times_s = zip(*others, strict=True)
        slope, least = np.polyfit(sizes, times_s, 1)
        estimate_s = float(least + slope * self._inventory[model].footprint_bytes)
        return (estimate_s, len(others)) if isfinite(estimate_s) and estimate_s > 0 else None


def _reloads(seen: Any) -> dict[Key, list[float]]:
    """Times of reloads, whose number settings change; of who had none, in proportion to first loads."""
    of_kind: dict[str, dict[Key, list[float]]] = {
        kind: {key: [s for _, s in pairs] for (_, key, how, _), pairs in seen.items() if how == kind}
        for kind in _LOADS
    }
    first, again = of_kind[FIRST_LOAD], of_kind[RELOAD]
    found = dict(again)
    for key, these in first.items():
        ratios = [
            median(again[other]) / median(first[other])
            for other in again
            if other[1] == key[1] and other in first
        ]
        if key not in again and len(ratios) >= OTHERS:
            found[key] = [median(these) * median(ratios)]
    return found


def judged(samples: Iterable[Sample]) -> list[Sample]:
    """Name samples of the windows that are judged as such."""
    return [sample._replace(what=_JUDGED + _what(sample.what)) for sample in samples]


def _what(label: str) -> str:
    """A load, a run or an unload that was seen; empty for what a profile has measured."""
    return "run" if label in _RUNS else "load" if label in _LOADS else "unload" if label == UNLOAD else ""


def _between(by_items: dict[int, float], items: int) -> float:
    """In a straight line between the numbers of items that were seen, beyond them in proportion."""
    if items in by_items:
        return by_items[items]
    fewer = [count for count in by_items if count < items]
    more = [count for count in by_items if count > items]
    if fewer and more:
        low, high = fewer[-1], more[0]
        share = (items - low) / (high - low)
        return (1 - share) * by_items[low] + share * by_items[high]
    nearest = fewer[-1] if fewer else more[0]
    return by_items[nearest] * items / nearest
