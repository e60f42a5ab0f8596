"""A live run and its folder; and another one, where other programs kept the machine busy during the first.

Nothing that was recorded is lost for another try: the first folder stands until the second is whole.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from vramlab import __version__
from vramlab.analysis.metrics import metrics
from vramlab.config.compiled import compiled
from vramlab.config.fingerprints import fingerprint
from vramlab.config.loading import write_config, write_inventory
from vramlab.experiments.case import Case
from vramlab.live.backend import with_file_sizes
from vramlab.live.machine_load import OthersLoad, Watch
from vramlab.live.recording import Recording, record
from vramlab.runs.journal_reading import read_journal
from vramlab.runs.run_folder import journal_trace, write_json
from vramlab.runs.samples import samples_path, write_samples
from vramlab.traces.files import write_trace


def record_run(
    case: Case,
    out: Path,
    device: str = "auto",
    speed: float = 1.0,
    done: Callable[[], object] | None = None,
) -> dict[str, Any]:
    """Play a trace against live sessions and fill the folder `out` (see :mod:`vramlab.runs.run_folder`).

    Parameters
    ----------
    case : Case
        Its trace is played under its configuration. Its measurements are kept with the run, which is to be
        simulated from them.
    out : Path
        The folder.
    device, speed, done
        As for :class:`vramlab.live.recording.Recording` and :func:`vramlab.live.recording.record`.

    Returns
    -------
    dict
        The figures of the run, as those of a replay; and what other programs did meanwhile: ``other_cores``,
        and ``disturbed``, a sentence that is empty where times are not longer for them.

    Raises
    ------
    InputError
        As :func:`vramlab.live.recording.record`, before the folder is made.
    """
    journal = out / "journal.jsonl"
    trace, config, inventory, seed = case.trace, case.config, with_file_sizes(case.inventory), case.seed
    profile = case.measurements()
    known = {"vramlab": __version__, "compiled": compiled(), "workload_sha256": trace.sha256}

    def note(environment: dict[str, Any], ended: bool, others: OthersLoad) -> None:
        write_json(environment | known | others.notes() | {"ended": ended}, out / "environment.json")

    def opened(environment: dict[str, Any]) -> None:  # from here on a run that is killed can be verified
        write_config(config, out / "config.yaml", comment="The settings of this run.")
        elsewhere = {name: spec.model_copy(update={"path": None}) for name, spec in inventory.items()}
        write_inventory(elsewhere, out / "models.yaml", comment="The inventory of this run.")
        if profile is not None:
            write_samples(profile, samples_path(out / "models.yaml"))
        note(environment, ended=False, others=OthersLoad())
        watching.append(stack.enter_context(Watch()))  # from about where the journal's clock begins

    recording = Recording(trace, config, inventory, device, speed, seed)
    watching: list[Watch] = []
    with ExitStack() as stack:
        records, environment = record(recording, journal, done, opened)
        others = watching[0].load()
    served = journal_trace(read_journal(journal), str(journal))
    write_trace(served, out / "trace.csv")
    note(environment, ended=True, others=others)
    return metrics(records, config, inventory) | {
        "backend": environment["backend"],
        "policy": config.scoring.policy,
        "seed": seed,
        "config_sha256": fingerprint(config),
        "trace_sha256": served.sha256,
        "version": __version__,
        "compiled": compiled(),
        "other_cores": others.cores,
        "disturbed": others.said("recorded") if others.busy else "",
    }


def record_until_calm(
    make: Callable[[Path], dict[str, Any]], out: Path, again: Callable[[str], bool]
) -> dict[str, Any]:
    """Record, and again as long as other programs were busy and `again` wants it; the calmest stays.

    Parameters
    ----------
    make : callable
        Records into the folder that it is given, as :func:`record_run` does.
    out : Path
        The folder in which the recording is to stand in the end.
    again : callable
        Told what other programs did; returns whether to record once more.

    Returns
    -------
    dict
        The figures of the recording that stands in `out`.
    """
    figures = make(out)
    while figures["disturbed"] and again(figures["disturbed"]):
        beside = _free_name(out, "again")
        try:
            second = make(beside)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        if _better(second, figures):
            first = _free_name(out, "before")
            out.rename(first)
            try:
                beside.rename(out)
            except BaseException:
                first.rename(out)
                raise
            shutil.rmtree(first)
            figures = second
        else:
            shutil.rmtree(beside)
    return figures


def _free_name(folder: Path, what: str) -> Path:
    """Return a name beside `folder` that nothing has."""
    folder = folder.absolute()
    names = (f"{folder.name}.{what}{number or ''}" for number in itertools.count())
    return next(folder.with_name(name) for name in names if not folder.with_name(name).exists())


def _better(second: dict[str, Any], first: dict[str, Any]) -> bool:
    """Whether it is the calmer recording, and has lost no more requests."""
    if second["failed"] > first["failed"]:
        return False
    return not second["disturbed"] or (second["other_cores"] or 0.0) < (first["other_cores"] or 0.0)
