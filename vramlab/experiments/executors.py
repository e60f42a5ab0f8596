"""Where the runs of a study are worked off: in this process, on the cores of this machine, on a cluster.

All three take ``work(context, task)``, a context that each worker gets once, and tasks; they yield each task
as it ends, in whatever order. A task that raises, or whose process dies, ends with an error and takes no
other along.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, NamedTuple, TypeVar

from vramlab.config.collecting import collect_rarely
from vramlab.config.errors import InputError, check_package
from vramlab.experiments.provenance import code_sha256

Context = TypeVar("Context")
Task = TypeVar("Task")
Work = Callable[[Any, Any], Any]

# Tasks handed to each process at a time: one that runs, and one that waits for it to end.
_AHEAD = 2


class Ended(NamedTuple):
    """A task that has ended: with a result, or with what went wrong."""

    task: Any
    result: Any
    error: str = ""


def execute(
    work: Work, context: Any, tasks: Sequence[Any], jobs: int | None = 1, dask: str | None = None
) -> Generator[Ended]:
    """Do `tasks` here, on the cores of this machine, or on a cluster.

    Parameters
    ----------
    work : callable
        ``work(context, task)``; a function that other processes can find by its name.
    context : object
        What all tasks share.
    tasks : sequence
        Handed out in this order.
    jobs : int or None
        Processes on this machine; 1 is this process itself, None is one per core.
    dask : str, optional
        Address of a Dask scheduler, whose workers take the place of local processes.

    Raises
    ------
    InputError
        For less than one job, and a cluster that cannot be had or runs another version of the code.
    """
    check_jobs(jobs)
    if dask is not None:
        return on_dask(work, context, tasks, dask)
    jobs = min(processes(jobs), len(tasks))
    return in_process(work, context, tasks) if jobs <= 1 else on_cores(work, context, tasks, jobs)


def processes(jobs: int | None) -> int:
    """Return how many processes are meant: None is one per core that this one may use."""
    if jobs is not None:
        return jobs
    from loky import cpu_count

    return int(cpu_count())


def check_jobs(jobs: int | None) -> None:
    """Refuse less than one job; also for those who may find that there is nothing to work off."""
    if jobs is not None and jobs < 1:
        raise InputError("--jobs", "", jobs, "at least 1")


def attempt(work: Work, context: Any, task: Any) -> Ended:
    """Do one task; what it raises becomes its error."""
    try:
        return Ended(task, work(context, task))
    except Exception as error:
        return Ended(task, None, _in_words(error))


def in_process(work: Work, context: Any, tasks: Sequence[Any]) -> Generator[Ended]:
    """Do one task after the other, here."""
    for task in tasks:
        yield attempt(work, context, task)


# -- the cores of this machine -----------------------------------------------------------------------


def on_cores(work: Work, context: Any, tasks: Sequence[Any], jobs: int) -> Generator[Ended]:
    """Do tasks on `jobs` processes (loky).

    When one of them dies (out of memory, killed, a crash in native code) all break. Which task it was is not
    known. So each task that may have been running gets a process of its own, which shows the guilty one.
    """
    from loky.process_executor import BrokenProcessPool

    waiting = list(tasks)
    while waiting:
        ended = []
        try:
            for end in _pool(work, context, waiting, jobs):
                ended.append(end.task)
                yield end
            return
        except BrokenProcessPool:
            waiting = [task for task in waiting if task not in ended]
        suspects, waiting = waiting[: _AHEAD * jobs], waiting[_AHEAD * jobs :]
        for task in suspects:
            try:
                yield from _pool(work, context, [task], 1)
            except BrokenProcessPool as error:
                yield Ended(task, None, f"its process died: {_in_words(error)}")


def _pool(work: Work, context: Any, tasks: Sequence[Any], jobs: int) -> Generator[Ended]:
    from loky import ProcessPoolExecutor

    pool = ProcessPoolExecutor(jobs, initializer=_hold, initargs=(work, context))
    waiting = deque(tasks)
    running: set[Future[Ended]] = set()
    try:
        done: set[Future[Ended]] = set()
        while waiting or running or done:
            while waiting and len(running) < _AHEAD * jobs:
                running.add(pool.submit(_held, waiting.popleft()))
            for future in done:  # when the next are handed out: whoever takes it may take its time
                yield future.result()
            done, running = wait(running, return_when=FIRST_COMPLETED)
    finally:
        # with nothing left to do they end at once; after an interruption they are not waited for
        pool.shutdown(wait=True, kill_workers=bool(running or waiting))


_holding: list[tuple[Work, Any]] = []


def _hold(work: Work, context: Any) -> None:
    """Keep what all tasks of this worker share."""
    collect_rarely()
    _holding[:] = [(work, context)]


def _held(task: Any) -> Ended:
    work, context = _holding[0]
    return attempt(work, context, task)


# -- a cluster ---------------------------------------------------------------------------------------


def on_dask(work: Work, context: Any, tasks: Sequence[Any], address: str) -> Generator[Ended]:
    """Do tasks on the workers of a Dask cluster, each of which gets the context once.

    Dask runs the tasks of a worker that died again elsewhere; a task under which several workers died
    (``distributed.scheduler.allowed-failures``) ends with an error. Workers hold Python's lock while they
    run: start them with one thread each.
    """
    check_package("--dask", "distributed", "vramlab[distributed]")
    from distributed import Client, as_completed

    try:
        client = Client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise InputError("--dask", address, _in_words(error), "the address of a Dask scheduler") from error
    with client:
        held = _handed_out(client, context, address)
        futures = {client.submit(attempt, work, held, task, pure=False): task for task in tasks}
        for future in as_completed(list(futures)):
            task = futures.pop(future)
            problem = future.exception()
            yield future.result() if problem is None else Ended(task, None, _in_words(problem))
            future.release()


def _handed_out(client: Any, context: Any, address: str) -> Any:
    """Give every worker of a cluster the context; it has to run our code."""
    try:
        codes = client.run(code_sha256)
        held = client.scatter(context, broadcast=True, hash=False)
    except Exception as error:  # a worker that dies meanwhile shows as errors of many kinds
        raise InputError("--dask", address, _in_words(error), "a cluster whose workers stay up") from error
    for worker, code in codes.items():
        if code != code_sha256():
            raise InputError("--dask", worker, f"vramlab with code {code[:12]}", f"{code_sha256()[:12]}")
    return held


def _in_words(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
