"""Replays of several cases of one trace: each is made once, and long ones on all cores of this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from vramlab.analysis.by_model import ByModel
from vramlab.analysis.metrics import metrics
from vramlab.config.errors import InputError
from vramlab.config.fingerprints import fingerprint
from vramlab.experiments.case import Case
from vramlab.experiments.executors import check_jobs, execute, processes
from vramlab.experiments.replay import Replay, run
from vramlab.experiments.shared_traces import SharedCase, share_case

# Requests of all replays, below which workers would take longer to start than they save.
_ENOUGH = 300_000

_Found = Replay | InputError


@contextmanager
def replays_of(cases: Sequence[Case], jobs: int | None = 1) -> Iterator[Callable[[Case], Replay]]:
    """Give a function that returns the replay of a case of one trace; of those that are alike there is one.

    Parameters
    ----------
    cases : sequence of Case
        What will be asked for. With several jobs, and enough to do, it is made ahead.
    jobs : int or None
        Processes on this machine; None is one per core, 1 is this process.

    Raises
    ------
    InputError
        From the function, where the case cannot be replayed.
    """
    check_jobs(jobs)
    made: dict[tuple[str, ...], _Found] = {}
    with closing(_ahead(cases, processes(jobs))) as ahead:

        def replayed(case: Case) -> Replay:
            key = _key(case)
            while key not in made:
                made.update([next(ahead, None) or (key, _attempted(case))])
            found = made[key]
            if isinstance(found, InputError):
                raise found
            return found

        yield replayed
        made.clear()  # what nobody has kept is no longer held by the function


def _key(case: Case) -> tuple[str, ...]:
    return fingerprint(case.config), fingerprint(case.inventory), fingerprint(case.faults)


def _ahead(cases: Sequence[Case], jobs: int) -> Generator[tuple[tuple[str, ...], _Found]]:
    """Give replays with their keys, as they end on other processes; none where that would not pay."""
    unique = {_key(case): case for case in cases}
    requests = sum(len(case.trace) for case in unique.values() if case.mode == "simulate")
    if min(jobs, len(unique)) < 2 or requests < _ENOUGH:
        return
    keys = list(unique)
    with tempfile.TemporaryDirectory(prefix="vramlab-") as folder:
        shared = [share_case(case, Path(folder)) for case in unique.values()]
        with closing(execute(_of_shared, shared, range(len(shared)), jobs)) as tasks:
            for ended in tasks:
                if not ended.error:  # else it is replayed here, alone: memory may have been short for several
                    key = keys[ended.task]
                    yield key, _with_models(unique[key], ended.result)


def _of_shared(shared: Sequence[SharedCase], place: int) -> _Found:
    found = _attempted(shared[place].open())
    if isinstance(found, Replay):  # figures of 50,000 models are more than all else of a run
        found.figures["models"] = None
    return found


def _with_models(case: Case, found: _Found) -> _Found:
    """Give a replay that has travelled the figures by model back, for whoever looks at them."""
    if isinstance(found, Replay):
        records = found.records
        found.figures["models"] = ByModel(
            records.model_names, lambda: metrics(records, case.config, case.inventory)["models"].values()
        )
    return found


def _attempted(case: Case) -> _Found:
    try:
        return run(case)
    except InputError as error:
        return error
