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
