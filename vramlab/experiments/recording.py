"""A live run and its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vramlab import __version__
from vramlab.analysis.metrics import metrics
from vramlab.config.compiled import compiled
from vramlab.config.loading import fingerprint, write_config, write_inventory
from vramlab.experiments.case import Case
from vramlab.live.backend import with_file_sizes
from vramlab.live.machine_load import OtherProcesses
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
        The figures of the run, as those of a replay.

    Raises
    ------
    InputError
        As :func:`vramlab.live.recording.record`, before the folder is made.
    """
    journal = out / "journal.jsonl"
    trace, config, inventory, seed = case.trace, case.config, with_file_sizes(case.inventory), case.seed
    profile = case.measurements()
    known = {"vramlab": __version__, "compiled": compiled(), "workload_sha256": trace.sha256}

    def note(environment: dict[str, Any], ended: bool, other_cores: float | None) -> None:
        document = environment | known | {"other_cores": other_cores, "ended": ended}
        write_json(document, out / "environment.json")

    def opened(environment: dict[str, Any]) -> None:  # from here on a run that is killed can be verified
        write_config(config, out / "config.yaml", comment="The settings of this run.")
        elsewhere = {name: spec.model_copy(update={"path": None}) for name, spec in inventory.items()}
        write_inventory(elsewhere, out / "models.yaml", comment="The inventory of this run.")
        if profile is not None:
            write_samples(profile, samples_path(out / "models.yaml"))
        note(environment, ended=False, other_cores=None)

    recording = Recording(trace, config, inventory, device, speed, seed)
    others = OtherProcesses()
    records, environment = record(recording, journal, done, opened)
    busy = others.cores()
    served = journal_trace(read_journal(journal), str(journal))
    write_trace(served, out / "trace.csv")
    note(environment, ended=True, other_cores=busy)
    return metrics(records, config, inventory) | {
        "backend": environment["backend"],
        "policy": config.scoring.policy,
        "seed": seed,
        "config_sha256": fingerprint(config),
        "trace_sha256": served.sha256,
        "version": __version__,
        "compiled": compiled(),
    }
