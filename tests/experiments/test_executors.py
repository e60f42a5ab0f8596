"""Work on this process, on processes, and on a cluster: the same results, and no task takes another along."""

import os
import signal
import time

import pytest

from tests.experiments.studying import die_at, double, slow
from vramlab.config.errors import InputError
from vramlab.experiments.executors import execute


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_task_that_raises_is_one_error_among_results(jobs):
    ended = {end.task: (end.result, end.error) for end in execute(double, 3, range(8), jobs)}
    assert ended == {n: (2 * n, "") if n != 3 else (None, "ValueError: not 3") for n in range(8)}


def test_a_task_that_kills_its_process_is_found_and_the_others_are_done():
    ended = {end.task: end for end in execute(die_at, 5, range(12), 2)}
    assert sorted(ended) == list(range(12))
    assert [task for task, end in ended.items() if end.error] == [5]
    assert "its process died" in ended[5].error
    assert all(end.result == task for task, end in ended.items() if task != 5)


def test_two_jobs_are_two_processes_and_neither_is_this_one():
    made_by = {end.result for end in execute(slow, 0.1, range(6), 2)}
    assert len(made_by) == 2
    assert os.getpid() not in made_by


def test_no_jobs_are_refused():
    with pytest.raises(InputError, match="at least 1"):
        execute(double, 0, [1], 0)


def test_a_cluster_gives_what_one_process_gives_though_a_worker_is_killed_midway(cluster):
    address, workers = cluster
    results, killed = {}, False
    for end in execute(slow, 0.1, range(24), dask=address):
        assert end.error == ""
        results[end.task] = end.result
        if len(results) == 6 and not killed:
            workers[0].send_signal(signal.SIGKILL)
            killed = True
    assert sorted(results) == list(range(24))
    assert set(results.values()) == {workers[0].pid, workers[1].pid}, "both took part"
    late = [pid for task, pid in results.items() if task >= 20]
    assert set(late) == {workers[1].pid}, "the survivor did the rest"


def test_an_address_where_nobody_listens_is_one_clear_error():
    pytest.importorskip("distributed")
    begin = time.monotonic()
    with pytest.raises(InputError, match=r"--dask: tcp://127\.0\.0\.1:1:"):
        list(execute(double, 0, [1], dask="tcp://127.0.0.1:1"))
    assert time.monotonic() - begin < 60
