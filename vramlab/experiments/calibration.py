"""A run calibrates itself: its case with the times that it has seen, and where each of these came from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, cast

import pandas as pd

from vramlab.engine.effects import Target
from vramlab.experiments.case import Case, resolve_case
from vramlab.experiments.recorded_samples import recorded_samples
from vramlab.experiments.split import Split
from vramlab.runs.run_folder import RunFolder
from vramlab.simulation.choosing import recorded_times
from vramlab.simulation.recorded import ORIGINS, Origin, SeenTimes, What

_KINDS: dict[Target, tuple[What, ...]] = {
    Target.GPU: ("load", "run", "unload"),
    Target.CPU: ("load", "run"),
}


@dataclass(frozen=True, eq=False)
class Calibration:
    """Where the times of a simulation come from.

    Parameters
    ----------
    times : SeenTimes
        The times, which know.
    models : list of str
        Those that the trace asks for.
    samples : int
        Effects of the run that times are drawn from.
    window_s : float or None
        Length of the windows that are each simulated with times from those of the other half; None: the run
        is simulated with all of its times.
    warm_up_s : float
        Seconds from the first request on after which the run was warm.
    rule : str
        By what rule, in a sentence.
    caveats : list of str
        What is wrong with the recording, a sentence each.
    """

    times: SeenTimes
    models: list[str]
    samples: int
    window_s: float | None = None
    warm_up_s: float = 0.0
    rule: str = ""
    caveats: list[str] = field(default_factory=list)

    def rows(self) -> list[dict[str, Any]]:
        """Return where times come from, one row per model, target and kind of effect."""
        return [
            {"model": model, "target": target.value, "what": what}
            | self.times.source(what, model, target)._asdict()
            for model in self.models
            for target in Target
            for what in _KINDS[target]
        ]

    def frame(self) -> pd.DataFrame:
        """Return the rows as a table."""
        return pd.DataFrame(self.rows())

    def summary(self) -> str:
        """Return where times come from in a line: how many samples, and what the run has not seen."""
        rows = self.rows()
        origins = Counter(row["origin"] for row in rows)
        said = [
            f"{_ORIGIN_TEXTS[origin]}: {self._named(rows, origin)}"
            for origin in ORIGINS[1:]
            if origins[origin]
        ]
        text = f"times: the run's own, {self.samples:,} effects of {len(self.models)} models"
        if self.window_s is not None:
            text += f", in windows of {self.window_s:.2g} s: each half of them with the other half's times"
        return "; ".join([text, *said])

    def _named(self, rows: list[dict[str, Any]], origin: Origin) -> str:
        first, *more = [row for row in rows if row["origin"] == origin]
        name = f"{first['what']}s of {first['model']} on the {first['target'].upper()}"
        return f"{name} and {len(more)} more" if more else name

    def document(self) -> dict[str, Any]:
        """Return the value of ``calibration`` in JSON documents."""
        return {
            "samples": self.samples,
            "window_s": self.window_s,
            "warm_up_s": self.warm_up_s,
            "rule": self.rule,
            "sources": self.rows(),
        }


_ORIGIN_TEXTS: dict[Origin, str] = {
    "run": "the run's own",
    "profile": "from its profile",
    "estimated": "estimated from other models",
    "judged": "from the windows that are judged",
    "unknown": "unknown, and an error where they are needed",
}


def calibrated_case(run: RunFolder, seed: int = 0, split: Split | None = None) -> tuple[Case, Calibration]:
    """Make a case of a run, with the service times that it has seen itself.

    Parameters
    ----------
    run : RunFolder
        A recorded run.
    seed : int
        Draws the times.
    split : Split, optional
        Its windows, and its warm-up, whose times are left out; by default nothing is split, and the warm-up
        is as the journal shows.

    Raises
    ------
    InputError
        If the journal has no effect that ended well.
    """
    frame = recorded_samples(run, split)
    case = resolve_case(
        run.trace, run.config, run.inventory, seed=seed, service_times="recorded", profile=frame
    )
    return case, cast(Calibration, calibration_of(case))


def calibration_of(case: Case) -> Calibration | None:
    """Return where the times of a case come from, if they are a run's own."""
    frame = case.measurements()
    if case.service_times != "recorded" or frame is None:
        return None
    times = recorded_times(frame, case.config, case.inventory)
    about = {"samples": len(frame)} | frame.attrs.get("recording", {})
    return Calibration(times, sorted(set(case.trace.model_names)), **about)


def said_of_times(case: Case) -> list[str]:
    """Say where the times of a case come from, if they are a run's own; else nothing."""
    found = calibration_of(case)
    return [] if found is None else [found.summary(), *found.caveats]
