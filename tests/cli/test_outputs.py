"""No command writes over what it reads, nor computes first what it cannot write then."""

import shutil

import pytest

from tests.cli.test_cli import MODELS, POOL, TRACE
from tests.cli.test_traces import ROOT

NO_PICTURES = [
    ["replay", "t.csv", "--config", "c.yaml", "--out", "run", "--memory-map", "t.csv"],
    ["compare", "t.csv", "--config", "c.yaml", "--models", "m.yaml", "--plot", "m.yaml"],
    ["curve", "t.csv", "--models", "m.yaml", "--plot", "t.csv"],
    ["describe", "t.csv", "--plot", "afile"],
    ["memory", "run", "--plot", "t.csv"],
    ["verify", "run", "--plot", "t.csv"],
]
OVERWRITING = [
    ["sweep", "t.csv", "--config", "c.yaml", "--models", "m.yaml", "--policies", "lru", "--out", "t.csv"],
    ["tune", "t.csv", "--config", "c.yaml", "--models", "m.yaml", "--out", "m.yaml"],
    ["tune", "t.csv", "--config", "c.yaml", "--models", "m.yaml", "--out", "c.yaml"],
    ["import", "csv", "t.csv", "--out", "./t.csv"],
    ["import", "csv", "t.csv", "--out", "x.csv", "--models-out", "t.csv"],
    ["import", "csv", "t.csv", "--out", "x.csv", "--models", "m.yaml", "--models-out", "m.yaml"],
    ["import", "csv", "t.csv", "--out", "x.csv", "--models-out", "x.csv"],
    ["export", "libcachesim-csv", "t.csv", "--models", "m.yaml", "--out", "t.csv"],
    ["generate", "s.yaml", "--out", "s.yaml"],
    ["describe", "t.csv", "--spec", "t.csv"],
    ["journal-trace", "t.csv", "--out", "t.csv"],
    ["profile", "--models", "m.yaml", "--out", "m.yaml"],
    ["profile", "--out", "config/model_config.yaml"],
    ["profile", "m.yaml", "--out", "m.yaml"],
]
NOWHERE = [
    ["replay", "t.csv", "--config", "c.yaml", "--models", "m.yaml", "--out", "afile/x"],
    ["replay", "t.csv", "--config", "c.yaml", "--models", "m.yaml", "--memory-map", "afile/x.png"],
    ["compare", "t.csv", "--config", "c.yaml", "--models", "m.yaml", "--plot", "afile/x.png"],
    ["sweep", "t.csv", "--config", "c.yaml", "--models", "m.yaml", "--out", "afile/x.parquet"],
    ["tune", "t.csv", "--config", "c.yaml", "--models", "m.yaml", "--out", "afile/x.yaml"],
    ["import", "csv", "t.csv", "--out", "afile/x.parquet"],
    ["import", "csv", "t.csv", "--out", "x.parquet", "--models-out", "config"],
    ["import", "csv", "t.csv", "--out", "x.parquet", "--models-out", "afile/m.yaml"],
    ["export", "libcachesim-csv", "t.csv", "--models", "m.yaml", "--out", "afile/x.csv"],
    ["generate", "s.yaml", "--out", "afile/x.csv"],
    ["describe", "t.csv", "--plot", "afile/x.png"],
    ["stand-ins", "--models", "m.yaml", "--out", "afile"],
    ["profile", "--models", "m.yaml", "--out", "afile/x.yaml"],
    ["record", "--workload", "t.csv", "--models", "m.yaml", "--out", "afile/x"],
]


@pytest.fixture
def everything(tmp_path, monkeypatch):
    """What lies in the folder by name; the folder is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    for source, name in (
        (TRACE, "t.csv"),
        (POOL, "c.yaml"),
        (MODELS, "m.yaml"),
        (MODELS, "config/model_config.yaml"),
        (ROOT / "traces" / "synthetic_tight.yaml", "s.yaml"),
    ):
        shutil.copy(source, tmp_path / name)
    (tmp_path / "afile").touch()

    def read():
        return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    return read


def refused(vramlab, everything, arguments):
    before = everything()
    status, out, err = vramlab(*arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert everything() == before
    return err


@pytest.mark.parametrize("arguments", OVERWRITING, ids=" ".join)
def test_what_is_read_is_not_overwritten(vramlab, everything, arguments):
    assert "another file to write" in refused(vramlab, everything, arguments)


@pytest.mark.parametrize("arguments", NO_PICTURES, ids=" ".join)
def test_a_file_that_can_be_no_picture_is_refused_first_of_all(vramlab, everything, arguments):
    err = refused(vramlab, everything, arguments)
    assert f"{arguments[-1]}: found suffix" in err
    assert ".png" in err


@pytest.mark.parametrize("arguments", NOWHERE, ids=" ".join)
def test_what_cannot_be_written_is_said_first(vramlab, everything, arguments):
    err = refused(vramlab, everything, arguments)
    assert "no folder" in err or "a folder" in err
