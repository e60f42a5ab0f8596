"""Model servers of today in the explorer."""

from vramlab.experiments.replay import replay
from vramlab.widgets import PolicyExplorer

TIGHT = ("traces/synthetic_tight.csv.gz", "config/scenarios/tight.yaml")


def test_a_server_is_chosen_beside_our_own_settings_and_left_again():
    explorer = PolicyExplorer(*TIGHT)
    ours = explorer.result.figures
    explorer.set("server=ollama")
    figures = explorer.result.figures
    alone = replay(*TIGHT, overrides=["server=ollama"]).figures
    assert figures["server"] == "ollama"
    assert (figures["loads"], figures["latency_mean_s"]) == (alone["loads"], alone["latency_mean_s"])
    explorer.controls.by_key["server"].value = "lm-studio"
    assert explorer.config.server == "lm-studio"
    explorer.set("server=null")
    assert explorer.result.figures["loads"] == ours["loads"]
