"""Anything beside anything: traces, configurations and sizes of the card, each with its own comparison.

Every combination keeps what stands outside of it (baselines, optimum, floor). Runs of one trace are held
against the first of them, pair by pair, whatever they differ in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vramlab.config.errors import InputError
from vramlab.config.loading import with_overrides
from vramlab.config.schema import VramConfig
from vramlab.config.units import bytes_to_mib
from vramlab.experiments.case import Case, ConfigLike, Mode, ModelsLike, TraceLike, resolve_case
from vramlab.experiments.comparison import Compared, Comparison, compared
from vramlab.experiments.intervals import Counted, with_intervals
from vramlab.experiments.replay import flat
from vramlab.experiments.shared_traces import short_name


@dataclass(frozen=True)
class Place:
    """One combination: its case, and its names by kind (trace, config, card) where these differ."""

    case: Case
    names: dict[str, str]

    @property
    def label(self) -> str:
        """All of its names as one."""
        return ", ".join(self.names.values())


@dataclass(frozen=True, eq=False)
class SideBySide:
    """Comparisons of several places.

    Parameters
    ----------
    places : list of Place
        Traces outermost, then configurations, then cards.
    comparisons : list of Comparison
        One per place. With intervals, ``versus_first`` is against the first row of the first place with the
        same trace.
    """

    places: list[Place]
    comparisons: list[Comparison]

    def __iter__(self) -> Iterator[tuple[Place, Comparison]]:
        return zip(self.places, self.comparisons, strict=True)

    def frame(self) -> pd.DataFrame:
        """One row per place and policy, with a column for each kind of name."""
        return pd.DataFrame([place.names | flat(row) for place, one in self for row in one.rows])

    def document(self) -> dict[str, Any]:
        """The keys of ``vramlab compare --json`` for several places: ``comparisons``, one document each."""
        return {"comparisons": [{"place": place.names} | one.document() for place, one in self]}

    def _repr_html_(self) -> str:
        return "".join(f"<p><b>{place.label}</b></p>{one._repr_html_()}" for place, one in self)


def on_card(config: VramConfig, total_mb: float) -> VramConfig:
    """Return a configuration on a card of another size: the zones keep their shares of what models have.

    Raises
    ------
    InputError
        If the overhead leaves nothing.
    """
    share = (total_mb - config.overhead.total_mb) / bytes_to_mib(config.budget_bytes)
    if share <= 0:
        found, expected = f"{total_mb:g} MB", f"more than the overhead of {config.overhead.total_mb:g} MB"
        raise InputError("--memory", "", found, expected)
    sizes = {name: min(round(zone.size_mb * share, 3), total_mb) for name, zone in config.zones.items()}
    data = config.model_dump(mode="json")
    zones = {name: data["zones"][name] | {"size_mb": sizes[name]} for name in sizes}
    changed = VramConfig.model_validate(data | {"total_memory_mb": total_mb, "zones": zones})
    return with_overrides(changed, [])


# What differs, and what all have: users name them by keyword.
def places_of(
    traces: Sequence[TraceLike],
    configs: Sequence[ConfigLike] = (),
    cards_mb: Sequence[float] = (),
    models: ModelsLike = None,
    overrides: Sequence[str] = (),
    mode: Mode = "simulate",
    seed: int = 0,
) -> list[Place]:
    """Return one place per trace, configuration and size of the card.

    Parameters
    ----------
    traces, configs : sequence
        As for :func:`~vramlab.experiments.replay.replay`; without configurations the specification's values.
    cards_mb : sequence of float
        Sizes of the card; without them the configuration's (:func:`on_card`).
    models, overrides, mode, seed
        Of all alike.

    Raises
    ------
    InputError
        For bad input, and without a trace.
    """
    if not traces:
        raise InputError("compare", "trace", "none", "at least one trace")
    found = []
    names = _apart([_name(one) for one in configs])
    cards: list[float | None] = [*cards_mb] or [None]
    for trace, (place, config), card_mb in product(traces, enumerate(configs or [None]), cards):
        case = resolve_case(trace, config, models, overrides, mode=mode, seed=seed)
        if card_mb is not None:
            case = case.under(on_card(case.config, card_mb))
        name = {}
        if len(traces) > 1:
            name["trace"] = short_name(case.trace.source)
        if len(configs) > 1:
            name["config"] = names[place]
        if len(cards_mb) > 1:
            name["card"] = card_text(case.config.total_memory_mb)
        found.append(Place(case, name))
    return found


def card_text(total_mb: float) -> str:
    """Write the size of a card: ``8 GB`` where it is whole, else MB."""
    return f"{total_mb / 1024:g} GB" if total_mb % 512 == 0 else f"{total_mb:,g} MB"


def _name(config: ConfigLike) -> str:
    return Path(config).name.removesuffix(".yaml") if isinstance(config, str | Path) else "configuration"


def _apart(names: list[str]) -> list[str]:
    """Number names that are the same."""
    return [f"{name} {place + 1}" if names.count(name) > 1 else name for place, name in enumerate(names)]


def side_by_side(
    places: Sequence[Place],
    what: Compared | None = None,
    *,
    intervals: bool = False,
    skip_warmup: bool = False,
    done: Callable[[], object] | None = None,
    jobs: int | None = 1,
) -> SideBySide:
    """Compare the same things at several places.

    Parameters
    ----------
    places : sequence of Place
        At least one.
    what, intervals, skip_warmup, done, jobs
        As for :func:`~vramlab.experiments.comparison.compared`; with several places their configurations'
        own policies are compared where none are named.

    Raises
    ------
    InputError
        As :func:`~vramlab.experiments.comparison.compared`; for `skip_warmup` at several places, whose
        warm-ups differ.
    """
    what = what or Compared()
    if len(places) > 1:
        what = replace(what, own=True)
        if skip_warmup:
            raise InputError(
                "--skip-warmup", "", f"{len(places)} places", "one trace, configuration and card"
            )
    alone = len(places) == 1
    comparisons = [
        compared(one.case, what, intervals=intervals and alone, skip_warmup=skip_warmup, done=done, jobs=jobs)
        for one in places
    ]
    if intervals and not alone:
        _hold_against_the_first(places, comparisons, what)
    return SideBySide(list(places), comparisons)


def _hold_against_the_first(
    places: Sequence[Place], comparisons: Sequence[Comparison], what: Compared
) -> None:
    """Add intervals to the rows of each trace, all of them against the trace's first."""
    by_trace: dict[str, tuple[list[dict[str, Any]], list[Counted]]] = {}
    for place, one in zip(places, comparisons, strict=True):
        rows, runs = by_trace.setdefault(place.case.trace.sha256, ([], []))
        rows += one.rows
        cases = what.cases(place.case)
        runs += [Counted(case, result.records) for case, result in zip(cases, one.replays, strict=True)]
    for rows, runs in by_trace.values():
        found = with_intervals(runs, np.random.default_rng(runs[0].case.seed))
        for row, more in zip(rows, found, strict=True):
            row |= more
