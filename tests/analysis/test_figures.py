"""A new figure is one row: then it stands in every document and table, and can be tuned for."""

import pytest

from tests.experiments.studying import POOL, ROOT
from vramlab.analysis.figures import _TABLES, FIGURES, Figure, objectives, table
from vramlab.cli.comparison_tables import show_comparison
from vramlab.config.loading import load_inventory
from vramlab.experiments.comparison import compare
from vramlab.experiments.replay import replay
from vramlab.experiments.tuning import tune
from vramlab.traces.files import read_trace
from vramlab.widgets.figures import figures_table

TRACE = read_trace(ROOT / "traces" / "synthetic_tight.csv.gz").head(300)
INVENTORY = load_inventory(ROOT / "config" / "model_config.yaml")
ROW = Figure(
    "bytes_per_request", "bytes per request", "bytes", "lower",
    lambda part: sum(load.size_bytes for load in part.loaded) / max(len(part.outcomes), 1),
)  # fmt: skip


@pytest.fixture
def one_row_more(monkeypatch):
    monkeypatch.setitem(FIGURES, ROW.key, ROW)


@pytest.mark.usefixtures("one_row_more")
def test_one_row_is_a_figure_of_runs_zones_and_models_and_stands_in_all_tables(capsys):
    compared = compare(TRACE, POOL, INVENTORY, ["lru", "fifo"], "decide")
    figures = compared.rows[0]
    assert figures[ROW.key] == figures["bytes_loaded"] / 300
    assert all(ROW.key in part for part in (*figures["zones"].values(), *figures["models"].values()))
    assert ROW.key in compared.frame()
    assert ROW.label in compared._repr_html_()
    assert ROW.text(figures[ROW.key]) in compared._repr_html_()
    assert ROW.label in figures_table(figures, None, True)
    show_comparison(compared, "by the test")
    shown = " ".join(capsys.readouterr().out.split())
    assert ROW.text(figures[ROW.key]) in shown


@pytest.mark.usefixtures("one_row_more")
def test_one_row_is_an_objective():
    pytest.importorskip("optuna")
    found = tune(TRACE, POOL, INVENTORY, trials=3, objectives=[ROW.key], mode="decide", over=["policy"])
    before = found.train["before"][ROW.key]
    assert found.trials[ROW.key].min() <= before * 1.5
    assert found.train[ROW.key] <= before


def test_without_the_row_nothing_names_it():
    assert ROW.key not in replay(TRACE, POOL, INVENTORY, "decide").figures
    assert ROW.key not in objectives()
    assert ROW not in table("compare")


def test_what_the_tables_name_is_there():
    assert {key for keys in _TABLES.values() for key in keys} <= set(FIGURES)
    assert all(key == figure.key for key, figure in FIGURES.items())
