"""The figures of each model of a run, computed when somebody looks at one.

A run of ten thousands of models has as many sets of figures, which take longer to make, and more room, than
the run itself; most runs are only compared as a whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from vramlab.analysis.figures import Part, computed, latencies_of
from vramlab.engine.outcomes import EvictionRecord, LoadRecord, Outcome

Row = TypeVar("Row", LoadRecord, EvictionRecord)


class ByModel(dict[str, dict[str, Any]]):
    """Figures by model: a dict that has its keys from the start, and its values at the first look at one.

    Parameters
    ----------
    names : iterable of str
        Models.
    make : callable
        Returns the figures of each, in the order of `names`.
    """

    def __init__(self, names: Iterable[str], make: Callable[[], Iterable[dict[str, Any]]]) -> None:
        # the keys are there for what reads a dict past its methods, as the C part of json does
        later: dict[str, Any] = {}
        super().__init__((name, later) for name in names)
        self._make: Callable[[], Iterable[dict[str, Any]]] | None = make

    def _made(self) -> dict[str, dict[str, Any]]:
        """Return itself as a plain dict, with its values."""
        make = self._make
        if make is not None:  # noted only when done: an interruption, or another thread, sees no half of it
            super().update(zip(super().keys(), make(), strict=True))
            self._make = None
        return dict(super().items())

    def __getitem__(self, name: str) -> dict[str, Any]:
        if self._make is not None:
            self._made()
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the figures of a model, or the default where the run has none of it."""
        try:
            return self[name]
        except KeyError:
            return default

    def __iter__(self) -> Any:  # overridden, so that `dict(this)` looks by the methods below
        return super().__iter__()

    def items(self) -> Any:
        """Models with their figures."""
        return self._made().items()

    def values(self) -> Any:
        """Figures of all models."""
        return self._made().values()

    def copy(self) -> dict[str, dict[str, Any]]:
        """Return a plain dict."""
        return self._made()

    def __or__(self, other: Any) -> Any:
        return self._made() | other

    def __eq__(self, other: object) -> bool:
        return self._made() == (other._made() if isinstance(other, ByModel) else other)

    def __ne__(self, other: object) -> bool:  # that of a dict would compare what is not made yet
        return not self == other

    __hash__ = None  # as a dict

    def __repr__(self) -> str:
        return repr(self._made())

    def __reduce__(self) -> Any:  # copies, and what travels to other processes, are plain
        return dict, (self._made(),)


def parts_by_model(
    whole: Part, models: tuple[list[str], npt.NDArray[np.int32]], load_s: Mapping[str, float]
) -> Iterable[Part]:
    """Give the part of each model of a run, in the order of their codes.

    Parameters
    ----------
    whole : Part
        Of the run.
    models : tuple
        Names, and per request the code of its model.
    load_s : mapping of str to float
        Load time by model as the inventory states it, seconds.
    """
    names, codes = models
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(names)))
    rows = np.split(order, ends[:-1])
    kinds = len(Outcome)
    ended = np.bincount(codes * kinds + whole.outcomes, minlength=len(names) * kinds)
    counts = ended.reshape(len(names), kinds).tolist()
    latencies = _latencies(whole.latency_s, codes, len(names))
    loads, evictions = grouped(whole.loads, "model"), grouped(whole.evictions, "model")
    for code, name in enumerate(names):
        of = rows[code]
        part = Part(whole.outcomes[of], whole.latency_s[of], loads[name], evictions[name], load_s)
        part.__dict__.update(ended=counts[code], latencies_s=latencies[code])  # what it would work out
        yield part


def figures_by_model(
    whole: Part, names: list[str], codes: npt.NDArray[np.int32], load_s: Mapping[str, float]
) -> ByModel:
    """Return the figures of each model of a run; parameters as of :func:`parts_by_model`."""

    def make() -> Iterable[dict[str, Any]]:
        return (computed(part, "models") for part in parts_by_model(whole, (names, codes), load_s))

    return ByModel(names, make)


def grouped(rows: Iterable[Row], key: str) -> defaultdict[str, list[Row]]:
    """Return rows by the text in one of their fields, each group in the order of the rows."""
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    of = attrgetter(key)
    for row in rows:
        groups[of(row)].append(row)
    return groups


def _latencies(latency_s: npt.NDArray[np.float64], codes: npt.NDArray[np.int32], models: int) -> list[Any]:
    """Return what :attr:`Part.latencies_s` is of each model: models with equally many answers at once."""
    answered = ~np.isnan(latency_s)
    codes, values = codes[answered], latency_s[answered]
    values = values[np.argsort(codes, kind="stable")]
    counts = np.bincount(codes, minlength=models)
    starts = np.cumsum(counts) - counts
    found: list[Any] = [{} for _ in range(models)]
    for count in np.unique(counts[counts > 0]).tolist():
        alike = np.flatnonzero(counts == count)
        table = values[starts[alike, None] + np.arange(count)]
        for model, row in zip(alike.tolist(), latencies_of(table), strict=True):
            found[model] = row
    return found
