"""Traces, configurations and cards side by side, each with what stands outside of it."""

import json

import pytest

from tests.experiments.test_traps import MODELS, asked, settings
from vramlab.cli.app import run as command
from vramlab.config.loading import write_config, write_inventory
from vramlab.config.units import size_mb
from vramlab.experiments.comparison import Compared, compare
from vramlab.experiments.side_by_side import card_text, places_of, side_by_side
from vramlab.traces.files import write_trace

CONFIGS = [settings(), settings({"high_priority": 20, "flexible": 60})]


def test_every_place_is_a_comparison_of_its_own_and_pairs_are_against_the_first_of_the_trace():
    places = places_of([asked(), asked(seed=1)], CONFIGS, [70, 110], MODELS)
    assert [place.names["card"] for place in places] == ["70 MB", "110 MB"] * 4
    found = side_by_side(places, intervals=True)
    alone = compare(asked(), CONFIGS[0], MODELS, ["seed_fixed"], overrides=[
        "total_memory_mb=110", "zones.flexible.size_mb=110"])  # fmt: skip
    of_the_second = found.comparisons[1]
    assert of_the_second.rows[0]["cost_s"] == alone.rows[0]["cost_s"]
    assert of_the_second.optimum.load_cost_s == alone.optimum.load_cost_s
    for start in (0, 4):  # of each trace
        first, *others = (one.rows[0] for one in found.comparisons[start : start + 4])
        assert first["versus_first"] == {}
        for row in others:
            versus = row["versus_first"]["cost_s"]
            assert versus["difference"] == pytest.approx(row["cost_s"] - first["cost_s"])
            assert versus["low"] <= versus["difference"] <= versus["high"]
    frame = found.frame()
    assert len(frame) == 8
    assert {"trace", "config", "card"} <= set(frame)


def test_several_places_compare_their_own_policies_unless_told_otherwise():
    places = places_of([asked()], CONFIGS[:1], [80, 100], MODELS)
    assert len(side_by_side(places[:1]).comparisons[0].rows) == 7
    assert len(side_by_side(places).comparisons[0].rows) == 1
    two = side_by_side(places, Compared(["lru", "fifo"])).comparisons[1]
    assert [row["policy"] for row in two.rows] == ["lru", "fifo"]


def test_sizes_of_cards():
    assert [size_mb(text) for text in ("8GB", "8 GiB", "12288MB", "512", "1.5gb")] == [
        8192,
        8192,
        12288,
        512,
        1536,
    ]
    assert [size_mb(text) for text in ("8XB", "", "GB", "0GB", "-1GB")] == [None] * 5
    assert (card_text(8192), card_text(700)) == ("8 GB", "700 MB")


def test_on_the_command_line(tmp_path, capsys):
    write_trace(asked(), tmp_path / "t.csv")
    write_inventory(MODELS, tmp_path / "m.yaml")
    for name, config in zip("ab", CONFIGS, strict=True):
        write_config(config, tmp_path / f"{name}.yaml")
    trace, a, b, models = (str(tmp_path / name) for name in ("t.csv", "a.yaml", "b.yaml", "m.yaml"))
    given = ["compare", trace, "--models", models, "--configs", a, b]
    assert command([*given, "--memory", "70MB,110MB", "--intervals"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for said in ("a, 70 MB", "b, 110 MB", "one pool, lru", "hold together with 95 %", "your zones"):
        assert said in text
    assert command([*given, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["place"] for one in document["comparisons"]] == [{"config": "a"}, {"config": "b"}]
    assert command([*given, "--skip-warmup"]) == 2
    assert command(["compare", "--models", models, "--configs", a, b]) == 2
