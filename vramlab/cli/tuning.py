"""``tune``: settings searched on the first part of a trace, judged on the rest, and doubted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from tqdm import tqdm

from vramlab.analysis.figures import FIGURES, objectives
from vramlab.analysis.question_plots import importance_plot
from vramlab.cli.inputs import CaseOptions, JsonOption, grouped, names_in
from vramlab.cli.output import log, picture, print_json, print_table, save_plot, seconds
from vramlab.cli.output import out as console
from vramlab.config.files import check_outputs, check_suffix, locked
from vramlab.config.loading import write_config
from vramlab.experiments.calibration import said_of_times
from vramlab.experiments.remarks import share_text
from vramlab.experiments.rolling import rolling, rolling_text
from vramlab.experiments.search_space import DEFAULT_OVER, GROUPS, POLICIES
from vramlab.experiments.sensitivity import sensitivity, sensitivity_text
from vramlab.experiments.trials import Search
from vramlab.experiments.tuning import Tuning, tuned


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("tune")(tune_command)


@dataclass(frozen=True)
class SearchOptions:
    """What is searched, and how long."""

    trials: Annotated[int, typer.Option("--trials", help="How many settings to try.")] = 100
    objective: Annotated[
        list[str] | None,
        typer.Option(
            "--objective",
            help="Figure to tune for; may be repeated. Default: cost_s (loads and CPU). "
            f"One of {', '.join(objectives())}.",
        ),
    ] = None
    validate_from: Annotated[
        str,
        typer.Option(
            "--validate-from",
            metavar="TIME|FRACTION",
            help="From where on settings are judged: seconds, or a fraction of the requests.",
        ),
    ] = "0.5"
    over: Annotated[
        str, typer.Option("--over", help=f"Groups of settings that may change, of {', '.join(GROUPS)}.")
    ] = ",".join(DEFAULT_OVER)
    policies: Annotated[str, typer.Option("--policies", help="Eviction policies to choose from.")] = ",".join(
        POLICIES
    )
    search: Annotated[
        list[str] | None,
        typer.Option(
            "--search", metavar="KEY=LOW..HIGH[:log]|V1,V2", help="A further setting; may be repeated."
        ),
    ] = None
    require: Annotated[
        list[str] | None,
        typer.Option(
            "--require",
            metavar="FIGURE<=NUMBER",
            help="What a setting has to keep to, as in latency_p99_s<=2 or unserved=0; may be repeated.",
        ),
    ] = None
    jobs: Annotated[int, typer.Option("--jobs", help="Processes; with one the seed decides all.")] = 1
    storage: Annotated[
        str | None,
        typer.Option("--storage", help="Trials that calls share: a .db or .journal file, or a URL."),
    ] = None

    def resolve(self) -> Search:
        """Take the lists apart."""
        over, policies = names_in("--over", self.over), names_in("--policies", self.policies)
        return Search(
            self.trials, tuple(self.objective or ["cost_s"]), self.validate_from, tuple(over),
            tuple(policies), tuple(self.search or ()), self.jobs, self.storage, tuple(self.require or ()),
        )  # fmt: skip


@dataclass(frozen=True)
class CheckOptions:
    """How what is found is doubted."""

    folds: Annotated[
        int | None,
        typer.Option(
            "--rolling", metavar="N", help="Tune again at N boundaries, each judged on what follows."
        ),
    ] = None
    sensitive: Annotated[
        bool,
        typer.Option("--sensitivity", help="Whether it holds if sizes and times are other than assumed."),
    ] = False
    plot: Annotated[
        Path | None,
        typer.Option("--plot", callback=picture, help="Picture of how much each setting mattered."),
    ] = None


@grouped
def tune_command(
    inputs: CaseOptions,
    out: Annotated[Path, typer.Option("--out", help="Configuration to write (.yaml).")],
    options: SearchOptions,
    checks: CheckOptions,
    as_json: JsonOption = False,
) -> None:
    """Search settings on the first part of a trace and judge them on the rest.

    The whole trace is replayed to judge, and what comes after the boundary is counted: memory and policy are
    as they would be by then. The configuration that is written says on top what was gained.

    Example: vramlab tune traces/synthetic_tight.csv.gz --config config/scenarios/tight.yaml --trials 40
    --out tuned.yaml

    Example: vramlab tune mine.parquet --models mine.yaml --config config/scenarios/plain.yaml --over
    policy,memory --require latency_p99_s<=2 --require unserved=0 --objective card_bytes --out least.yaml
    """
    check_suffix(out, (".yaml", ".yml"))
    check_outputs([out, checks.plot], inputs.files)
    search, case = options.resolve(), inputs.resolve()
    trials = search.trials * (1 + (checks.folds or 0))
    bar = tqdm(total=trials, desc="tune", unit="trial", disable=None, leave=False)
    with locked(out), bar as progress:
        try:
            result = tuned(case, search, progress.update)
            folds = rolling(case, search, checks.folds, progress.update) if checks.folds else []
        except KeyboardInterrupt:
            if search.storage is not None:
                progress.close()
                log.print(
                    f"the trials so far are kept in {search.storage}; the same command goes on with them"
                )
            raise
        holds = sensitivity(case, result.config) if checks.sensitive else pd.DataFrame()
        more = _doubted(folds, holds)
        write_config(result.config, out, "\n".join([result.comment(case.trace), *more]))
    log.print(f"written to {out}")
    if checks.plot is not None:
        _plot_importances(result, checks.plot)
    if as_json:
        checked = {"rolling": folds, "sensitivity": holds.to_dict("records")}
        print_json(result.document() | {"importances": result.importances()} | checked)
    else:
        show_tuning(result)
        for line in [*said_of_times(case), *result.remarks(), *more]:
            console.print(line)


def _doubted(folds: list[dict[str, Any]], holds: pd.DataFrame) -> list[str]:
    """What the checks say, a line each."""
    lines = [rolling_text(folds)] if folds else []
    return lines + ([] if holds.empty else [sensitivity_text(holds)])


def _plot_importances(result: Tuning, path: Path) -> None:
    found = result.importances()
    if not found:
        log.print("too few trials, or too unlike, to say how much each setting mattered: no picture written")
        return
    save_plot(importance_plot(found, f"What mattered for {result.objectives[0]}"), path)
    log.print(f"written to {path}")


def show_tuning(result: Tuning) -> None:
    """Print what was found, how it was chosen, and what it does on both parts."""
    finalists = [
        ["before" if row["number"] == 0 else f"trial {row['number']}"]
        + [f"{row[key]:.6g}" for key in ("searched", "chosen_on")]
        + ["adopted" if row["adopted"] else ""]
        for row in result.choice.to_dict("records")
    ]
    title = f"the best trials, by {result.objectives[0]}"
    print_table(title, ["", "as searched", "on what they had not seen", ""], finalists)
    rows = [[key, str(value)] for key, value in result.best.items()]
    print_table("settings that changed", ["", ""], rows or [["none", ""]])
    _show_parts(result)
    outside = [
        [one["baseline"], seconds(one["cost_s"]), share_text(one)] for one in result.validation["baselines"]
    ]
    before = result.validation["versus_before"]
    outside.insert(0, ["before", seconds(result.validation["before"]["cost_s"]), share_text(before)])
    print_table("the adopted setting against", ["", "cost", "it costs (95 %)"], outside)
    if result.front:
        front = [
            [trial["settings"].get("scoring.policy", "as before")]
            + [f"{trial['values'][name]:.6g}" for name in result.objectives]
            for trial in result.front
        ]
        print_table("not beaten in all of them (settings: --json)", ["policy", *result.objectives], front)


def _show_parts(result: Tuning) -> None:
    gap, rate, p95 = (FIGURES[key] for key in ("gap_closed", "hit_rate", "latency_p95_s"))
    refused, failed = FIGURES["refused"], FIGURES["failed"]
    header = ["", "cost", "before", "one pool, lru", "optimum", gap.label, rate.label, "before", p95.label]
    header += ["before", refused.label, failed.label]
    parts = [
        [
            title,
            *(seconds(cost_s) for cost_s in (part["cost_s"], part["before"]["cost_s"], part["lru_cost_s"])),
            seconds(part["optimum_cost_s"]),
            gap.text(part["gap_closed"]),
            *(
                figure.text(of[figure.key], part["mode"])
                for figure in (rate, p95)
                for of in (part, part["before"])
            ),
            *(figure.text(part[figure.key]) for figure in (refused, failed)),
        ]
        for title, part in (("tuned on", result.train), ("judged on", result.validation))
    ]
    print_table("what it does", header, parts)
