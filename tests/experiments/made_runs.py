"""Recordings made by the simulator: their truth, and that of any alternative, is known exactly."""

from vramlab.config.fingerprints import fingerprint
from vramlab.config.loading import write_config, write_inventory
from vramlab.experiments.case import Case
from vramlab.experiments.replay import run as replay
from vramlab.runs.journal_writing import write_journal
from vramlab.runs.run_folder import journal_trace, write_json
from vramlab.traces.files import write_trace


def made_run(case: Case, folder, **environment):
    """Write what a recording of the case would have left, had loads and runs taken the case's times.

    Returns the replay that it is made of.
    """
    folder.mkdir(parents=True)
    found = replay(case, journal=True)
    write_journal(found.journal, folder / "journal.jsonl")
    write_trace(journal_trace(list(found.journal)), folder / "trace.csv")
    write_config(case.config, folder / "config.yaml")
    write_inventory(case.inventory, folder / "models.yaml")
    known = {"backend": "cpu-emulated", "cpu_count": 2, "ended": True, "workload_sha256": case.trace.sha256}
    write_json(known | {"config": fingerprint(case.config)} | environment, folder / "environment.json")
    return found
