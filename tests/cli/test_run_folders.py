"""Commands that take a live run's folder say where its times came from."""

import json

RECORDED = "traces/recorded_tight"


def test_tables_and_documents_say_where_times_came_from(vramlab):
    _, said, _ = vramlab("replay", RECORDED)
    said = " ".join(said.split())
    assert "times: the run's own, " in said
    assert " effects of 7 models; from its profile: " in said
    _, said, _ = vramlab("replay", RECORDED, "--service-times", "spec")
    assert "times: the run's own" not in said
    _, document, _ = vramlab("replay", RECORDED, "--json")
    sources = json.loads(document)["calibration"]["sources"]
    assert {row["origin"] for row in sources} == {"run", "profile"}


def test_a_run_is_verified_in_words(vramlab):
    status, said, _ = vramlab("verify", RECORDED, "--seeds", "2")
    said = " ".join(said.split())
    assert status == 0
    assert " effects of 7 models, in windows of 2 s: each half of them with the other half's times" in said
    assert "warm from 3.1 s on, when sessions first held 95% of the most" in said
    assert "simulated (median of 2)" in said
    assert "request by request: " in said
    assert "all in all: " in said
