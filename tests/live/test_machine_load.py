"""How busy other processes keep the cores: the mean, the bursts that it hides, and what is said of them."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vramlab.live import machine_load
from vramlab.live.machine_load import OtherProcesses, OthersLoad, Stretch, Watch, busy_cores, wait_for_calm

STAT = Path("/proc/stat")


@pytest.fixture
def stat(tmp_path, monkeypatch):
    """Write a /proc/stat of so many busy ticks on two cores, in an hour of which this process had none."""
    path = tmp_path / "stat"
    monkeypatch.setattr(machine_load, "_STAT", path)
    monkeypatch.setattr(machine_load.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(machine_load.os, "sysconf", lambda name: 100)
    own = type("Times", (), {"user": 0.0, "system": 0.0})
    monkeypatch.setattr(machine_load.os, "times", lambda: own)

    def write(busy_s, own_s=0.0):
        own.user = own_s
        user, system, stolen = int(100 * (busy_s + own_s)) - 10, 7, 3
        path.write_text(f"cpu  {user} 0 {system} 360000 5000 0 0 {stolen} 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n")

    write(10.0)
    return write


def test_what_this_process_does_is_not_what_others_do(stat):
    assert machine_load._busy_s() == pytest.approx(10.0)
    stat(11.5, own_s=30.0)
    assert machine_load._busy_s() == pytest.approx(11.5)


def test_a_mean_hides_a_burst_and_the_watch_does_not(stat):
    """Twenty idle seconds, three with one core busy and a half, thirty-seven idle ones: 0.075 on average."""
    watch = Watch()
    start_s, busy_s = watch._start_s, 10.0
    for second in range(1, 61):
        busy_s += 1.5 if 21 <= second <= 23 else 0.0
        stat(busy_s)
        watch.look(start_s + second)
    load = watch.load(start_s + 60)
    assert load.cores == pytest.approx(4.5 / 60)
    assert load.cores < busy_cores() == 0.2
    assert [tuple(map(round, one, (6, 6, 6))) for one in load.stretches] == [(20.0, 23.0, 1.5)]
    assert load.busy
    assert load.busy_s == pytest.approx(3)
    assert load.said("recorded") == (
        "other programs kept up to 1.5 of 2 cores busy in 3 of the 60 s in which this was recorded, "
        "first at 20 s"
    )
    assert load.between(0, 20).busy is False
    assert load.between(21, 60).busy
    assert load.between(22, 32).cores == pytest.approx(0.15)


def test_one_busy_second_in_a_minute_is_what_any_machine_has(stat):
    watch = Watch()
    for second in range(1, 61):
        stat(10.0 + (second >= 30))
        watch.look(watch._start_s + second)
    load = watch.load(watch._start_s + 60)
    assert len(load.stretches) == 1
    assert not load.busy


def test_busy_all_along_is_said_as_a_mean(stat):
    watch = Watch()
    for second in range(1, 11):
        stat(10.0 + 0.5 * second)
        watch.look(watch._start_s + second)
    load = watch.load(watch._start_s + 10.2)  # the rest is too short to be looked at by itself
    assert len(load.stretches) == 1
    assert load.busy
    assert load.said("profiled") == "other programs kept 0.5 of 2 cores busy while this was profiled"


def test_what_is_noted_in_a_runs_folder_is_read_back(stat):
    watch = Watch()
    stat(11.0)
    watch.look(watch._start_s + 1)
    load = watch.load(watch._start_s + 4)
    noted = json.loads(json.dumps(load.notes() | {"cpu_count": 2}))
    back = OthersLoad.noted(noted)
    assert back == OthersLoad(0.25, (Stretch(0.0, 1.0, 1.0),), 4.0, 2)
    assert OthersLoad.noted({"other_cores": 0.3, "cpu_count": 2}).busy  # by a version that kept the mean only
    assert not OthersLoad.noted({"other_cores": 0.3, "cpu_count": 8}).busy
    assert not OthersLoad.noted({"other_cores": None}).busy


def test_where_the_system_does_not_say_nothing_is_claimed(monkeypatch, tmp_path):
    monkeypatch.setattr(machine_load, "_STAT", tmp_path / "none")
    with Watch(0.01) as watch:
        assert watch.load() == OthersLoad(machine_cores=machine_load.os.cpu_count())
    assert OtherProcesses().cores() is None
    assert wait_for_calm(0.0, 0.0)


@pytest.mark.skipif(not STAT.exists(), reason="there is no /proc")
def test_a_program_that_keeps_a_core_busy_is_seen():
    program = "import time\nend = time.monotonic() + 60\nwhile time.monotonic() < end: pass"
    busy = subprocess.Popen([sys.executable, "-c", program])
    try:
        with Watch(0.2) as watch:
            until_s = time.monotonic() + 30  # of a machine that others keep busy it gets a part
            while not watch.load().stretches and time.monotonic() < until_s:
                time.sleep(0.1)
            load = watch.load()
    finally:
        busy.kill()
        busy.wait()
    assert load.stretches
    assert max(one.cores for one in load.stretches) > busy_cores()


def test_waiting_for_calm_ends_when_others_do_and_after_its_time(monkeypatch):
    cores = iter([1.0, 0.5, 0.0])
    monkeypatch.setattr(OtherProcesses, "cores", lambda self: next(cores))
    assert wait_for_calm(60.0, 0.0)
    assert next(cores, "all asked for") == "all asked for"
    monkeypatch.setattr(OtherProcesses, "cores", lambda self: 1.0)
    assert not wait_for_calm(0.0, 0.0)
