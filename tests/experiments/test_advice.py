"""Advice: chosen on one half, judged on the other; steps between cards; pages; what would change it."""

import pytest

from tests.experiments.test_traps import MODELS, NAMES, asked, settings
from vramlab.cli.app import run as command
from vramlab.config.errors import InputError
from vramlab.config.loading import load_config, write_config, write_inventory
from vramlab.experiments.advising import Asked, advised
from vramlab.experiments.case import Case
from vramlab.experiments.optimum import costed
from vramlab.experiments.parts import boundary
from vramlab.experiments.replay import run
from vramlab.experiments.rolling import rolling, rolling_text
from vramlab.experiments.sensitivity import ASSUMPTIONS, sensitivity, sensitivity_text
from vramlab.experiments.side_by_side import on_card
from vramlab.experiments.trials import Search
from vramlab.traces.files import write_trace


@pytest.fixture(scope="module")
def case():
    return Case(asked(1200), settings({"high_priority": 10, "flexible": 60}, total_memory_mb=70), MODELS)


@pytest.fixture(scope="module")
def advice(case):
    return advised(case, Asked((70, 110, 200)))


def test_what_is_said_is_of_the_half_that_no_choice_has_seen(case, advice):
    first = boundary(case.trace, 0.5)
    assert advice.requests == len(case.trace) - first
    card = advice.chosen
    late = costed(
        Case(case.trace, advice.config, MODELS), run(Case(case.trace, advice.config, MODELS)), first
    )
    assert card.figures["cost_s"] == pytest.approx(late["cost_s"])
    mean, low, high = card.latency_mean_s
    assert low < mean < high
    assert mean == pytest.approx(late["latency_mean_s"])


def test_steps_between_cards_are_paired_and_the_last_one_brings_nothing(advice):
    small, all_fit, more = advice.cards
    assert [card.card for card in advice.cards] == ["70 MB", "110 MB", "200 MB"]
    share = all_fit.figures["cost_s"] / small.figures["cost_s"] - 1
    assert advice.steps[0].cost["share"] == pytest.approx(share)
    assert advice.steps[0].cost["high"] < 0
    assert "costs -" in str(advice.steps[0])
    assert more.figures["cost_s"] == all_fit.figures["cost_s"] == 0, "110 MB hold all models"
    assert advice.recommended == 1
    assert "does not surely save" in advice.why


def test_it_stands_on_pages_of_all_kinds_and_the_configuration_can_be_taken_home(advice, tmp_path):
    page = advice.page("For <you>")
    assert "&lt;you&gt;" in page
    for title in ("Take", "What it brings", "What binds", "What was assumed", "What would change it"):
        assert f"<b>{title}</b>" in page
        assert advice.sections()[title]
    path = tmp_path / "advised.yaml"
    write_config(advice.config, path, advice.comment())
    assert load_config(path) == advice.config
    assert advice.document()["recommended"] == "110 MB"


def test_the_least_card_that_keeps_what_is_required_is_taken(case):
    found = advised(case, Asked((50, 110, 200), ("unserved=0",)))
    assert found.cards[0].missed == ["unserved at most 0"], "the large model fits nowhere in 50 MB"
    assert found.recommended == 1
    assert found.why == "the least card that keeps to all that is required"
    with pytest.raises(InputError, match="mode simulate"):
        advised(Case(case.trace, case.config, MODELS, mode="decide"))


def test_a_card_keeps_the_shares_of_its_zones():
    config = settings({"high_priority": 20, "flexible": 60}, total_memory_mb=80)
    larger = on_card(config, 160)
    assert {name: zone.size_mb for name, zone in larger.zones.items()} == {
        "high_priority": 40,
        "flexible": 120,
    }


def test_a_winner_is_held_against_other_inventories(case):
    larger = on_card(case.config, 200)
    table = sensitivity(case, larger)
    assert len(table) == len(ASSUMPTIONS)
    assert set(table["verdict"]) <= {"holds", "tie", "reversed", "impossible"}
    assert (table["share"].dropna() <= 0).all()
    same = sensitivity(case, case.config)
    assert set(same["verdict"]) == {"tie"}
    assert sensitivity_text(same).startswith("makes no difference that shows for sizes -30 %")
    swapped = sensitivity(Case(case.trace, larger, MODELS), case.config)
    assert "does not hold for" in sensitivity_text(swapped)


def test_at_several_boundaries_each_part_judges_what_was_found_before_it(case):
    pytest.importorskip("optuna")
    search = Search(trials=3, over=("policy",), policies=("lru", "gdsf"))
    found = rolling(case, search, 3)
    assert len(found) == 3
    assert [one["from_s"] for one in found] == sorted(one["from_s"] for one in found)
    assert abs(sum(one["requests"] for one in found) - 0.6 * len(case.trace)) <= 3
    assert rolling_text(found).startswith("at 3 boundaries the tuned setting was better")
    with pytest.raises(InputError, match="at least 2"):
        rolling(case, search, 1)


def test_on_the_command_line(case, tmp_path, capsys):
    write_trace(case.trace, tmp_path / "t.csv")
    write_config(case.config, tmp_path / "c.yaml")
    write_inventory(MODELS, tmp_path / "m.yaml")
    common = ["--models", str(tmp_path / "m.yaml"), "--config", str(tmp_path / "c.yaml")]
    page = tmp_path / "advice.html"
    status = command(
        ["advise", str(tmp_path / "t.csv"), *common, "--memory", "70MB,200MB", "--html", str(page)]
    )
    text = capsys.readouterr().out
    assert status == 0
    assert "Is the larger card worth it?" in text
    assert page.read_text().startswith("<!doctype html>")
    assert command(["advise", str(tmp_path / "t.csv"), *common, "--memory", "8XB"]) == 2
    assert "a size such as 8GB" in capsys.readouterr().err
    assert set(NAMES) == set(case.trace.model_names)
