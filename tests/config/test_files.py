"""What is written, and what is refused before anything is computed."""

import pytest

from vramlab.config.errors import InputError
from vramlab.config.files import check_outputs, replacing


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
