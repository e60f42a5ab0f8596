"""What is written, and what is refused before anything is computed."""

import os
import subprocess
import sys

import pytest

from vramlab.config.errors import InputError
from vramlab.config.files import check_outputs, locked, read_json, replacing


def test_a_folder_that_is_a_file_is_one_error(tmp_path):
    file = tmp_path / "afile"
    file.touch()
    with (
        pytest.raises(InputError, match="a path that can be written"),
        replacing(file / "x.png") as temporary,
    ):
        temporary.write_text("x")
    assert list(tmp_path.iterdir()) == [file]


def test_outputs_are_no_inputs_no_folders_and_each_its_own(tmp_path):
    there, link = tmp_path / "there.csv", tmp_path / "link.csv"
    there.touch()
    link.symlink_to(there)
    new, below = tmp_path / "new" / "folder" / "x.csv", there / "x.csv"
    check_outputs([new, None, there], [link.with_name("other.csv"), None], [tmp_path, None, new.parent])
    for outputs, inputs, folders, found in (
        ([there], [link], [], "a file that is read"),
        ([tmp_path / "new" / ".." / "there.csv"], [there], [], "a file that is read"),
        ([link, there], [], [], "a file that is written already"),
        ([tmp_path], [], [], "a folder"),
        ([below], [], [], "which is no folder"),
        ([], [], [below], "which is no folder"),
        ([], [], [there], "which is no folder"),
    ):
        with pytest.raises(InputError, match=found):
            check_outputs(outputs, inputs, folders)
    assert not new.parent.exists()


LOCKS = """
import sys, time
from pathlib import Path
from vramlab.config.files import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_one_process_at_a_time_writes_and_a_dead_one_does_not_count(tmp_path):
    path = tmp_path / "folder" / "out.parquet"
    process = subprocess.Popen([sys.executable, "-c", LOCKS, path], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "locked\n"
    with pytest.raises(InputError, match="another process that writes it now"), locked(path):
        pass
    with locked(path.with_name("other.parquet")):
        pass
    process.kill()
    process.wait()
    with locked(path), pytest.raises(InputError, match="another process"), locked(path):
        pass
    assert list(path.parent.iterdir()) == []


def test_json_of_another_kind_is_one_error(tmp_path):
    path = tmp_path / "x.json"
    for text in ("[1]", "7", "{", "[" * 100_000, '{"a":' * 100_000):
        path.write_text(text)
        with pytest.raises(InputError, match="expected a manifest"):
            read_json(path, "a manifest")
    path.write_text('{"a": 1}')
    assert read_json(path, "a manifest") == {"a": 1}
    with pytest.raises(InputError, match="no such file"):
        read_json(tmp_path / "none.json", "a manifest")


def test_what_replaces_a_file_is_on_the_disk_before_it_does(tmp_path, monkeypatch):
    done = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append("sync") or sync(descriptor))
    monkeypatch.setattr(os, "replace", lambda *paths: done.append("replace") or replace(*paths))
    with replacing(tmp_path / "x.csv") as temporary:
        temporary.write_text("x")
    assert done == ["sync", "replace", "sync"]
    with pytest.raises(InputError, match="No such file"), replacing(tmp_path / "y.csv"):
        pass  # forgets to write
