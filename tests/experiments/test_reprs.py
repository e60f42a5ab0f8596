"""What a notebook prints of a study is one line."""

import vramlab


def test_a_replay_and_a_sweep_are_one_line():
    trace, scenario = "traces/live_workload.csv", "config/scenarios/tight.yaml"
    shown = repr(vramlab.replay(trace, scenario))
    assert shown.startswith("Replay(")
    assert "hit rate" in shown
    swept = vramlab.sweep(trace, scenario, grid={"admission": ["always", "compete"]}, mode="decide", jobs=1)
    assert repr(swept) == "Sweep(2 runs, 0 failed)"
    assert len(shown) < 120


def test_comparisons_tunings_and_verifications_are_one_line():
    trace, scenario = "traces/live_workload.csv", "config/scenarios/tight.yaml"
    shown = repr(vramlab.compare(trace, scenario, policies=["lru", "gdsf"], mode="decide"))
    assert shown.startswith("Comparison(2 runs of ")
    tuned = vramlab.tune(trace, scenario, trials=2, mode="decide")
    assert repr(tuned).startswith("Tuning(2 trials for ")
    assert "<table" in tuned._repr_html_()
    shown = repr(vramlab.verify("traces/recorded_tight"))
    assert shown.startswith("Verification(")
    assert shown.endswith(" 0 differences)")
