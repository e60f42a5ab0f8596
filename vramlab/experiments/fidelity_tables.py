"""What recordings and predictions came to, as tables, files and the places of a README that are kept for it.

A place is what stands between ``<!-- NAME -->`` and ``<!-- end -->``, on lines of their own. Names are those
of :func:`tables`. A README without places is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from vramlab.analysis.figures import FIGURES
from vramlab.analysis.shifts import KEYS
from vramlab.config.files import replacing
from vramlab.experiments import draws
from vramlab.experiments.counterfactual import (
    NO_DIFFERENCE,
    NO_REPEATS,
    OUTSIDE,
    WITHIN,
    Judged,
    counts,
    frames,
    rank_rows,
)
from vramlab.experiments.fidelity import AS_IT_STANDS
from vramlab.experiments.replay import flat
from vramlab.runs.run_folder import write_json

_OF_LIMITS = {"hit_rate_points": "hit_rate"} | {
    f"latency_{p}_relative": f"latency_{p}_s" for p in ("p50", "p95", "p99")
}
LIMITS = {
    name: round(100 * draws.LIMITS[key], 6) if key == "hit_rate" else draws.LIMITS[key]
    for name, key in _OF_LIMITS.items()
}
"""The limits of ``vramlab verify``, by the names of its errors."""


class Table(NamedTuple):
    """A table for people: where it goes, what it is called, headings, rows."""

    name: str
    title: str
    header: list[str]
    rows: list[list[str]]

    def markdown(self) -> str:
        """Return it as Markdown."""
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@dataclass(frozen=True, eq=False)
class Fidelity:
    """All workloads, judged, and the tables that follow; why some have no answer."""

    judged: list[Judged]
    figures: pd.DataFrame
    requests: pd.DataFrame
    pairs: pd.DataFrame
    unanswered: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, judged: Sequence[Judged], unanswered: Mapping[str, str] | None = None) -> Fidelity:
        """Make the tables; `unanswered` says of the other workloads why nothing can be said."""
        return cls(list(judged), **frames(judged), unanswered=dict(unanswered or {}))

    def missed(self, judged: Judged) -> list[str]:
        """Return which errors of a first recording are beyond :data:`LIMITS` and beyond its spread."""
        found = []
        for name, error in _verified(judged).items():
            spread = judged.spread(_OF_LIMITS[name], AS_IT_STANDS) or 0.0
            most = max(LIMITS[name], 100 * spread if name == "hit_rate_points" else spread)
            if error is None or abs(error) > most:
                found.append(name)
        return found

    @property
    def lockstep_differences(self) -> int:
        """Decisions that came out otherwise, over all recordings."""
        return sum(each.differences for one in self.judged for its in one.recordings.values() for each in its)

    @property
    def decisions(self) -> int:
        """Decisions that were followed, over all recordings."""
        return sum(each.decisions for one in self.judged for its in one.recordings.values() for each in its)

    def document(self) -> dict[str, Any]:
        """Return all figures, in plain values."""
        workloads = {}
        for one in self.judged:
            verified = one.verification
            workloads[one.name] = {
                "warm_up_s": one.warm_up_s,
                "spread": {key: one.spread(key) for key in KEYS},
                "verify": {
                    "live": flat(verified.live),
                    "simulated": flat(verified.simulated),
                    "error": verified.errors(),
                    "missed": self.missed(one),
                },
                "settings": {answer.alternative.name: answer.document() for answer in one.found.answers},
                "recordings": {
                    str(each.take.folder): {
                        "environment": each.run.environment,
                        "lockstep": {"decisions": each.decisions, "differences": each.differences},
                        "figures": each.series(one.requests).figures(),
                    }
                    for its in one.recordings.values()
                    for each in its
                },
            }
        lockstep = {"decisions": self.decisions, "differences": self.lockstep_differences}
        counted = counts(self.pairs) if len(self.pairs) else {}
        return {"lockstep": lockstep, "counts": counted, "limits": LIMITS, "workloads": workloads} | {
            "unanswered": self.unanswered
        }


def _verified(judged: Judged) -> dict[str, float | None]:
    errors = judged.verification.errors()
    return {name: errors[name] for name in LIMITS}


# -- tables -------------------------------------------------------------------------------------------


def tables(found: Fidelity) -> list[Table]:
    """Return the tables for people: ``verify``, ``predicted``, ``differences``, ``requests``, ``counts``."""
    made = [_verify_table(found), _predicted_table(found)]
    if len(found.pairs):
        made += [_differences_table(found)]
    return [*made, _requests_table(found), _counts_table(found)]


def _verify_table(found: Fidelity) -> Table:
    rows = []
    for one in found.judged:
        live, simulated, errors = one.verification.live, one.verification.simulated, _verified(one)
        row = [one.name, f"{live['requests']:,}"]
        for name, key in _OF_LIMITS.items():
            error, spread = errors[name], one.spread(key, AS_IT_STANDS)
            relative = None if error is None else error / 100 if key == "hit_rate" else error
            words = f"{_change(key, relative)}; spread {_size(key, spread)}"
            late = " too large" if name in found.missed(one) else ""
            row.append(f"{_text(key, live[key])} / {_text(key, simulated[key])} ({words}){late}")
        rows.append(row)
    header = ["workload", "requests", *(_heading(key) for key in _OF_LIMITS.values())]
    return Table("verify", "record, then verify, no profile: live / simulated", header, rows)


def _predicted_table(found: Fidelity) -> Table:
    rows = []
    for (workload, setting), its in found.figures.groupby(["workload", "setting"], sort=False):
        by_figure = {str(one["figure"]): one for one in its.to_dict("records")}
        said = "simulated" if setting == AS_IT_STANDS else "predicted"
        row = [str(workload), f"{setting} ({by_figure[KEYS[0]]['recordings']})"]
        for key in KEYS:
            one = by_figure[key]
            value, error = one[said], one[f"{said}_error"]
            words = f"{_change(key, error)}; spread {_size(key, one['spread'])}"
            late = " outside" if one["verdict"] == OUTSIDE else ""
            row.append(f"{_text(key, one['live'])} / {_text(key, value)} ({words}){late}")
        rows.append(row)
    header = ["workload", "setting (recordings)", *map(_heading, KEYS)]
    return Table(
        "predicted", "live, mean of the recordings / predicted from the first as it stands", header, rows
    )


def _differences_table(found: Fidelity) -> Table:
    rows = []
    for (workload, first, second), its in found.pairs.groupby(["workload", "first", "second"], sort=False):
        by_figure = {str(one["figure"]): one for one in its.to_dict("records")}
        row = [str(workload), f"{second} less {first}"]
        for key in KEYS:
            one = by_figure[key]
            word = {NO_DIFFERENCE: "-", NO_REPEATS: "?"}.get(one["verdict"], one["verdict"])
            row.append(f"{_change(key, one['real'])} / {_change(key, one['predicted'])}: {word}")
        rows.append(row)
    header = ["workload", "pair", *map(_heading, KEYS)]
    return Table("differences", f"real / predicted difference; -: {NO_DIFFERENCE}", header, rows)


def _requests_table(found: Fidelity) -> Table:
    rows = []
    for one in found.requests.to_dict("records"):
        cells = [
            f"{_share(one[f'other_outcome_{what}'])}" for what in ("simulated", "between_recordings")
        ] + [
            _text("latency_p50_s", one[f"latency_off_s_{what}"])
            for what in ("simulated", "between_recordings")
        ]
        rows.append([str(one["workload"]), str(one["setting"]), *cells])
    header = [
        "workload", "setting", "hit in one, none in the other: simulated and live", "two recordings",
        "median distance of a request's latencies: simulated and live", "two recordings",
    ]  # fmt: skip
    return Table("requests", "request by request", header, rows)


def _counts_table(found: Fidelity) -> Table:
    rows = [["lock-step: decisions that differ", f"{found.lockstep_differences:,} of {found.decisions:,}"]]
    if len(found.pairs):
        counted, ranks = counts(found.pairs), rank_rows(found.pairs)
        differ = counted["pairs_that_differ"]
        right = f"{counted['ranks_right']} of {counted['ranks']}"
        held = f"{counted['intervals_that_hold_the_real']} of {counted['intervals']}"
        alternatives = found.figures[found.figures.setting != AS_IT_STANDS]
        inside = int((alternatives.verdict == WITHIN).sum())
        rows += [
            ["figures of alternatives predicted within the spread", f"{inside} of {len(alternatives)}"],
            ["differences that repeat, sign right", f"{counted['sign_right']} of {differ}"],
            ["... and within a third, or the spread", f"{counted['size_right']} of {differ}"],
            ["rank orders right (workload and figure)", right],
            ["real differences within the interval", held],
        ]
        wrong = [one for one in ranks.to_dict("records") if not one["rank_right"]]
        rows += [["rank order wrong", f"{one['workload']}, {_heading(str(one['figure']))}"] for one in wrong]
    return Table("counts", "all together", ["", ""], rows)


def _heading(key: str) -> str:
    return FIGURES[key].name or FIGURES[key].label


def _text(key: str, value: float | None) -> str:
    return "-" if value is None or pd.isna(value) else FIGURES[key].text(value)


def _share(value: float | None) -> str:
    return "-" if value is None or pd.isna(value) else f"{100 * value:.1f} %"


def _change(key: str, value: float | None) -> str:
    if value is None or pd.isna(value):
        return "no answer"
    return f"{100 * value:+.2f} points" if key == "hit_rate" else f"{100 * value:+.1f} %"


def _size(key: str, value: float | None) -> str:
    return "?" if value is None or pd.isna(value) else _change(key, value).removeprefix("+").split()[0]


# -- files --------------------------------------------------------------------------------------------


def write_fidelity(found: Fidelity, folder: Path) -> None:
    """Write three tables (``*.csv``) and ``fidelity.json``, and fill the README."""
    for name, frame in (
        ("fidelity", found.figures),
        ("requests", found.requests),
        ("counterfactual", found.pairs),
    ):
        with replacing(folder / f"{name}.csv") as temporary:
            frame.to_csv(temporary, index=False, float_format="%.6g")
    write_json(found.document(), folder / "fidelity.json")
    readme = folder / "README.md"
    if readme.exists():
        text = filled(readme.read_text(encoding="utf-8"), tables(found))
        with replacing(readme) as temporary:
            temporary.write_text(text, encoding="utf-8")


def filled(text: str, made: Sequence[Table]) -> str:
    """Return a text with the tables in their places."""
    for table in made:
        place = re.compile(rf"(<!-- {table.name} -->\n).*?(<!-- end -->)", re.DOTALL)
        found = place.search(text)
        if found is not None:
            between = f"{found[1]}\n{table.markdown()}\n\n{found[2]}"
            text = text[: found.start()] + between + text[found.end() :]
    return text
