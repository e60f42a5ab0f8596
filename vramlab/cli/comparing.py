"""``compare``: anything beside anything, with the bounds of both sides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from tqdm import tqdm

from vramlab.allocator.policies import policy_names
from vramlab.cli.comparison_tables import plot_load_costs, show_side_by_side
from vramlab.cli.inputs import (
    JsonOption,
    ModelsOption,
    ModeOption,
    OrdersOption,
    SeedOption,
    SetOption,
    cards_in,
    grouped,
    names_in,
    say_without_preloading,
)
from vramlab.cli.output import log, out, picture, print_json, save_plot
from vramlab.config.errors import InputError
from vramlab.config.files import check_outputs
from vramlab.experiments.calibration import said_of_times
from vramlab.experiments.comparison import DEFAULT_POLICIES, Compared
from vramlab.experiments.side_by_side import Place, SideBySide, places_of, side_by_side
from vramlab.servers import server_names, server_of


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("compare")(compare_command)


@dataclass(frozen=True)
class PlacesOptions:
    """Traces, configurations and cards."""

    traces: Annotated[
        list[Path],
        typer.Argument(metavar="TRACE...", help="Trace files; what ends in .yaml is a configuration."),
    ]
    config: Annotated[
        list[Path] | None,
        typer.Option(
            "--config", "--configs",
            help="Configuration or scenario files; several: --configs a.yaml b.yaml. Default: the "
            "specification's values.",
        ),
    ] = None  # fmt: skip
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory", metavar="8GB,12GB", help="Sizes of the card; zones keep their shares of it."
        ),
    ] = None
    models: ModelsOption = None
    overrides: SetOption = None
    mode: ModeOption = "simulate"
    seed: SeedOption = 0

    @property
    def requests(self) -> list[Path]:
        """The trace files."""
        return [path for path in self.traces if path.suffix not in (".yaml", ".yml")]

    @property
    def configs(self) -> list[Path]:
        """The configuration files."""
        beside = [path for path in self.traces if path.suffix in (".yaml", ".yml")]
        return [*(self.config or []), *beside]

    def resolve(self) -> list[Place]:
        """Read everything; say where decide mode leaves something out.

        Raises
        ------
        InputError
            For bad input, and several configurations that were not asked for as such.
        """
        if len(self.configs) > 1 and not self.config:
            raise InputError("compare", "TRACE", str(self.configs[0]), "traces, or --configs before it")
        places = places_of(
            self.requests, self.configs, cards_in("--memory", self.memory), self.models,
            self.overrides or [], self.mode, self.seed,
        )  # fmt: skip
        say_without_preloading(places[0].case)
        return places


@dataclass(frozen=True)
class ComparedOptions:
    """What is compared."""

    policies: Annotated[
        str | None,
        typer.Option(
            "--policies",
            help=f"Eviction policies, with commas between, or `all`. Default: "
            f"{','.join(DEFAULT_POLICIES)}; with --orders, --servers, several configurations or cards the "
            "configuration's.",
        ),
    ] = None
    orders: OrdersOption = None
    servers: Annotated[
        str | None,
        typer.Option(
            "--servers",
            help=f"As model servers of today, with commas between, or `all`: {', '.join(server_names())}; "
            "with options as in ollama:keep_alive=600+max_loaded_models=2.",
        ),
    ] = None
    intervals: Annotated[
        bool, typer.Option("--intervals", help="95 % intervals, and differences from the first row.")
    ] = False
    skip_warmup: Annotated[
        bool, typer.Option("--skip-warmup", help="Leave out the warm-up, as the MSER-5 rule sees it.")
    ] = False
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            help="Processes on this machine, from 300,000 simulated requests on. Default: one per core.",
        ),
    ] = None

    def resolve(self) -> Compared:
        """Take the lists apart."""
        named = self.policies
        policies = policy_names() if named == "all" else names_in("--policies", named) if named else None
        orders = names_in("--orders", self.orders) if self.orders else []
        return Compared(policies, orders, server_names() if self.servers == "all" else _servers(self.servers))


@grouped
def compare_command(
    where: PlacesOptions,
    options: ComparedOptions,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", callback=picture, help="Picture of the load costs to write."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Replay traces under eviction policies, orders, configurations, sizes of the card, or as other servers.

    Below what is compared stand one pool with LRU, one pool with the configuration's policy, the
    specification's zones, the run with memory for all models (the price of memory is what others are above
    it) and the offline optimum.

    Example: vramlab compare traces/synthetic_tight.csv.gz --config config/scenarios/tight.yaml
    --policies seed,seed_fixed,lru,gdsf

    Example: vramlab compare mine.parquet --models mine.yaml --configs a.yaml b.yaml --memory 8GB,12GB
    --intervals

    Example: vramlab compare mine.parquet --models mine.yaml --config config/scenarios/plain.yaml --servers
    all
    """
    check_outputs([plot], [*where.traces, *where.configs, where.models])
    what, places = options.resolve(), where.resolve()
    if plot is not None and len(places) > 1:
        raise InputError("--plot", "", f"{len(places)} comparisons", "one trace, configuration and card")
    runs = what.runs if len(places) == 1 else len(places) * max(1, what.runs)
    with tqdm(total=runs + len(places), desc="compare", unit="run", disable=None, leave=False) as progress:
        found = side_by_side(
            places, what, intervals=options.intervals, skip_warmup=options.skip_warmup, done=progress.update,
            jobs=options.jobs,
        )  # fmt: skip
    if plot is not None:
        result = found.comparisons[0]
        title = f"{where.requests[0].name}: {result.rows[0]['requests']:,} requests"
        save_plot(plot_load_costs(result, title), plot)
        log.print(f"written to {plot}")
    if as_json:
        print_json(_document(found) | {"servers": [_about(text) for text in what.servers]})
    else:
        show_side_by_side(found, f"{', '.join(map(str, where.requests))}, {places[0].case.mode}")
        for line in dict.fromkeys(line for place in places for line in said_of_times(place.case)):
            out.print(line)
        for text in what.servers:
            server = server_of(text)[0]
            out.print(f"as {text} ({server.version}): {'; '.join(server.approximations)}")


def _document(found: SideBySide) -> dict[str, Any]:
    """The document of one comparison as it stands, or of several."""
    return found.comparisons[0].document() if len(found.places) == 1 else found.document()


def _servers(text: str | None) -> list[str]:
    """Names with options, where commas inside brackets are the options' own."""
    if text is None:
        return []
    parts, depth = [""], 0
    for sign in text:
        depth += (sign in "[{") - (sign in "]}")
        if sign == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += sign
    return names_in("--servers", "\0".join(parts), "\0")


def _about(text: str) -> dict[str, Any]:
    """What a preset is made from, and where it is not the server."""
    server, options = server_of(text)
    keys = ("name", "title", "version", "source", "read", "approximations")
    return {"server": text, "options": options} | {key: getattr(server, key) for key in keys}
