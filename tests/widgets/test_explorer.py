"""The explorer without a browser: its controls are moved from Python, as the browser would."""

import io
import json
import threading

import pandas as pd
import pytest
from PIL import Image

from vramlab.cli import main
from vramlab.config.differences import config_differences
from vramlab.config.errors import InputError
from vramlab.config.loading import load_config, with_overrides, write_inventory
from vramlab.experiments.replay import replay, run
from vramlab.traces.files import write_trace
from vramlab.traces.trace import Trace
from vramlab.widgets import PolicyExplorer
from vramlab.widgets import explorer as module
from vramlab.widgets.views import memory_text


@pytest.fixture
def explorer(trace, config, inventory, tmp_path):
    return PolicyExplorer(trace, config, inventory, export_to=tmp_path / "out" / "vram_config.yaml")


def move(explorer, key, value):
    """What the browser does when a slider is let go."""
    explorer.controls.by_key[key].value = value


def same(first, second):
    return {key: first.figures[key] for key in _FIGURES} == {key: second.figures[key] for key in _FIGURES}


_FIGURES = ("hit_rate", "cold_start_rate", "load_cost_s", "evictions", "latency_p50_s", "latency_p99_s")


def test_it_begins_at_the_configuration(explorer, trace, config, inventory):
    assert explorer.config == config
    assert same(explorer.result, replay(trace, config, inventory))
    assert repr(explorer) == "PolicyExplorer(by <hand>, 120 requests)"


def test_a_moved_slider_changes_figures_table_and_picture(explorer, trace, inventory):
    table, picture = explorer.table.value, explorer.picture.value
    move(explorer, "total_memory_mb", 28.0)  # the flexible zone gets the 4 MB: both models fit
    assert explorer.config.zones["flexible"].size_mb == 14
    assert explorer.config.total_memory_mb == 28
    assert explorer.result.figures["evictions"] == 0
    assert same(explorer.result, replay(trace, explorer.config, inventory))
    assert explorer.table.value != table
    assert explorer.picture.value != picture
    before, after = (Image.open(io.BytesIO(png)) for png in (picture, explorer.picture.value))
    assert before.size == after.size  # nothing jumps


def test_who_goes_next_has_controls(explorer, trace, config, inventory):
    assert explorer.controls.by_key["serving.order"].value == config.serving.order == "backlog"
    move(explorer, "serving.order", "fifo")
    move(explorer, "serving.max_wait_s", 10.0)
    serving = explorer.config.serving
    assert (serving.order, serving.max_wait_s) == ("fifo", 10.0)
    assert same(explorer.result, replay(trace, explorer.config, inventory))


def test_zones_add_up(explorer, config):
    for high in (1.0, 5.0, 13.0):
        move(explorer, "zones.high_priority.size_mb", high)
        assert sum(zone.size_mb for zone in explorer.config.zones.values()) == 20
    move(explorer, "zones.high_priority.size_mb", 16.0)  # nothing is left
    assert explorer.notice.is_error
    assert "0 MB left for it" in explorer.notice.value
    assert explorer.config.zones["high_priority"].size_mb == 13  # what is shown is still the last that worked
    move(explorer, "zones.high_priority.size_mb", 6.0)
    assert not explorer.notice.is_error
    assert explorer.config == config


def test_an_error_stands_in_the_widget(explorer):
    figures = explorer.table.value
    move(explorer, "zones.critical.size_mb", 1.0)
    assert explorer.notice.is_error
    assert "models.guard" in explorer.notice.value
    assert "2.0 MB of critical models" in explorer.notice.value
    assert "at most 1.0 MB" in explorer.notice.value
    assert explorer.table.value == figures


def test_a_bug_stands_in_the_widget_and_is_escaped(explorer, monkeypatch):
    def broken(*args, **kwargs):
        raise KeyError("<b>lost</b>")

    monkeypatch.setattr(module, "run", broken)
    move(explorer, "admission", "compete")
    assert explorer.notice.is_error
    assert "KeyError" in explorer.notice.value
    assert "<b>lost" not in explorer.notice.value


def test_a_preset_brings_its_exponents(explorer):
    weights = {name: explorer.controls.by_key[f"scoring.weights.{name}"] for name in ("cost", "recency")}
    assert (weights["cost"].value, weights["recency"].value) == (-1, 1)
    move(explorer, "scoring.policy", "seed")
    assert weights["cost"].value == 1
    assert explorer.config.scoring.weights.cost is None
    move(explorer, "scoring.weights.cost", -0.5)
    assert explorer.config.scoring.weights.cost == -0.5
    move(explorer, "scoring.policy", "lru")
    assert weights["cost"].disabled
    assert explorer.config.scoring.weights.cost is None
    move(explorer, "scoring.policy", "decayed")
    assert (weights["cost"].value, weights["recency"].value) == (-1, 0.5)


def test_set_by_name(explorer, config, trace, inventory):
    explorer.set("scoring.weights.cost=-0.5", "scoring.policy=seed", "total_memory_mb=28")
    assert explorer.config.scoring.policy == "seed"
    assert explorer.config.scoring.weights.cost == -0.5
    assert same(explorer.result, replay(trace, explorer.config, inventory))
    explorer.buttons.reset.click()
    assert explorer.config == config


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("scoring.polcy=lru", "did you mean 'scoring.policy'"),
        ("scoring.policy=lur", "one of"),
        ("zones.flexible.size_mb=3", "takes what the others leave"),
        ("scoring.weights.cost=9", "from -3 to 3"),
        ("scoring.weights.cost=dear", "from -3 to 3"),
        ("admission", "KEY=VALUE"),
    ],
)
def test_set_refuses(explorer, config, override, says):
    with pytest.raises(InputError, match=says):
        explorer.set("scoring.weights.size=0.5", override)
    assert explorer.notice.is_error
    assert explorer.controls.config() == config  # and nothing of it has moved


def test_pinned_beside_the_current(explorer):
    explorer.buttons.pin.click()
    pinned = explorer.picture.value
    move(explorer, "total_memory_mb", 28.0)
    assert "zones.flexible.size_mb <b>10 → 14</b>" in explorer.changes.value
    assert explorer.pinned.picture.value == pinned != explorer.picture.value
    frame = explorer.comparison()
    assert list(frame.index) == ["this setting", "pinned"]
    assert frame.loc["this setting", "hit_rate"] > frame.loc["pinned", "hit_rate"]
    gained = 100 * (frame.loc["this setting", "hit_rate"] - frame.loc["pinned", "hit_rate"])
    assert f"+{gained:.2f} pp" in explorer.table.value
    explorer.buttons.unpin.click()
    assert list(explorer.comparison().index) == ["this setting"]


def test_the_export_is_what_replay_takes(explorer, trace, inventory, tmp_path, capsys):
    explorer.set("scoring.policy=gdsf", "zones.high_priority.size_mb=7", "admission=compete")
    explorer.buttons.export.click()
    path = tmp_path / "out" / "vram_config.yaml"
    assert str(path) in explorer.notice.value
    assert load_config(path) == explorer.config
    write_trace(trace, tmp_path / "trace.csv")
    write_inventory(inventory, tmp_path / "models.yaml")
    arguments = ["replay", str(tmp_path / "trace.csv"), "--config", str(path)]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--models", str(tmp_path / "models.yaml"), "--json"])
    assert ended.value.code in (0, None)
    figures = json.loads(capsys.readouterr().out)
    assert figures["hit_rate"] == explorer.result.figures["hit_rate"]
    assert figures["config_sha256"] == explorer.result.figures["config_sha256"]


def test_an_export_that_cannot_be_written_says_so(explorer, tmp_path):
    (tmp_path / "file").write_text("")
    explorer.buttons.path.value = str(tmp_path / "file" / "x.yaml")
    explorer.buttons.export.click()
    assert explorer.notice.is_error
    assert "file" in explorer.notice.value


def test_what_takes_long_is_shown_without_latencies_first(explorer, monkeypatch):
    begun, may_go, made = threading.Event(), threading.Event(), []

    def slow(case):
        if case.mode == "simulate":
            begun.set()
            assert may_go.wait(10)
        made.append((case.mode, case.config.admission))
        return run(case)

    monkeypatch.setattr(module, "run", slow)
    explorer._expected_s = 10.0
    move(explorer, "admission", "compete")
    assert made == [("decide", "compete")]
    assert "simulating" in explorer.progress.line.value
    assert "…" in explorer.table.value
    assert begun.wait(10)  # else the next change is there before the first has its turn
    move(explorer, "admission", "free_only")
    move(explorer, "admission", "always")
    may_go.set()
    assert explorer.result.figures["mode"] == "simulate"
    simulated = [admission for mode, admission in made if mode == "simulate"]
    assert simulated[-1] == "always"
    assert "free_only" not in simulated  # a newer change had come before its turn
    assert "simulating" not in explorer.progress.line.value
    assert "…" not in explorer.table.value


def test_decide_mode(trace, config, inventory):
    explorer = PolicyExplorer(trace, config, inventory, mode="decide")
    assert explorer.result.figures["mode"] == "decide"
    assert "loads take no time" in explorer.progress.line.value


def test_one_zone(trace, inventory):
    pool = load_config(None, ["total_memory_mb=816", "zones={flexible: {size_mb: 16}}"])
    explorer = PolicyExplorer(trace, pool, inventory)
    assert explorer.config == pool
    explorer.set("total_memory_mb=820")
    assert explorer.config.zones["flexible"].size_mb == 20


def test_differences_of_configurations(config):
    other = load_config(None, [])
    assert config_differences(config, config) == []
    found = {key: (old, new) for key, old, new in config_differences(config, other)}
    assert found["total_memory_mb"] == (24, 6144)


def test_the_threshold_has_a_slider_where_something_predicts(trace, config, inventory):
    key = "optimization.preload_prediction_threshold"
    assert key not in PolicyExplorer(trace, config, inventory).controls.by_key
    if "predictor" not in type(config.optimization).model_fields:
        pytest.skip("this version does not preload")
    predicting = with_overrides(config, ["optimization.predictor=ewma", "optimization.preload_interval=5"])
    explorer = PolicyExplorer(trace, predicting, inventory)
    move(explorer, key, 0.25)
    assert explorer.config.optimization.preload_prediction_threshold == 0.25
    assert not explorer.notice.is_error


# -- one's own -------------------------------------------------------------------------------------------


def smallest_goes(model, now_s):
    return model.bytes


def newest_first(waiting, now_s):
    return waiting[-1]


def test_a_policy_and_an_order_of_ones_own(trace, config, inventory):
    explorer = PolicyExplorer(
        trace, config, inventory, policies=[smallest_goes], orders=[f"{__name__}:newest_first"]
    )
    name = f"{__name__}:smallest_goes"
    assert (f"smallest_goes ({__name__})", name) in explorer.controls.by_key["scoring.policy"].options
    move(explorer, "scoring.policy", name)
    move(explorer, "serving.order", f"{__name__}:newest_first")
    assert not explorer.notice.is_error
    assert explorer.result.figures["policy"] == name
    assert same(explorer.result, replay(trace, explorer.config, inventory))
    explorer.buttons.reset.click()
    assert explorer.config == config


def test_one_that_is_typed_in(explorer):
    explorer.own.policy.value = f" {__name__}:smallest_goes "
    explorer.own.take_policy.click()
    explorer.own.order.value = f"{__name__}:newest_first"
    explorer.own.take_order.click()
    assert explorer.config.scoring.policy == f"{__name__}:smallest_goes"
    assert explorer.config.serving.order == f"{__name__}:newest_first"


@pytest.mark.parametrize(
    ("take", "thing", "says"),
    [
        ("add_policy", lambda model, now_s: 0.0, "top of a module"),
        ("add_policy", "no_such_module:score", "module that can be imported"),
        ("add_order", "tests.widgets.test_explorer:nothing", "no attribute"),
        ("add_order", 3, "top of a module"),
    ],
)
def test_what_cannot_be_had_is_refused_and_nothing_moves(explorer, config, take, thing, says):
    with pytest.raises(InputError, match=says):
        getattr(explorer, take)(thing)
    assert explorer.config == config
    assert explorer.controls.config() == config


def test_what_was_defined_in_the_notebook_is_said_at_the_export(explorer, monkeypatch):
    import __main__

    def mine(model, now_s):
        return model.bytes

    mine.__module__, mine.__qualname__ = "__main__", "mine"
    monkeypatch.setattr(__main__, "mine", mine, raising=False)
    explorer.add_policy(mine)
    explorer.buttons.export.click()
    assert "mine must go into a module" in explorer.notice.value


def test_another_trace(explorer, trace, inventory, tmp_path):
    explorer.pin()
    write_trace(trace.head(60), tmp_path / "other.csv")
    explorer.own.trace_path.value = str(tmp_path / "other.csv")
    explorer.own.take_trace.click()
    assert not explorer.notice.is_error
    assert explorer.result.figures["requests"] == 60
    assert list(explorer.comparison().index) == ["this setting"]  # what was pinned is of another trace
    explorer.own.trace_choice.value = "by <hand>"
    assert explorer.result.figures["requests"] == len(trace)
    explorer.own.trace_path.value = str(tmp_path / "nothing.csv")
    explorer.own.take_trace.click()
    assert explorer.notice.is_error
    assert explorer.result.figures["requests"] == len(trace)


def test_traces_to_choose_among(trace, config, inventory):
    explorer = PolicyExplorer({"all": trace, "some": trace.head(30)}, config, inventory)
    assert explorer.result.figures["requests"] == len(trace)
    explorer.own.trace_choice.value = "some"
    assert explorer.result.figures["requests"] == 30


def test_a_view_and_a_window_replay_nothing(explorer, monkeypatch):
    monkeypatch.setattr(module, "run", None)
    seen = {explorer.picture.value}
    explorer.seen.window.value = (20.0, 40.0)
    seen.add(explorer.picture.value)
    for view in list(explorer.seen.view.options)[1:]:
        explorer.seen.view.value = view
        seen.add(explorer.picture.value)
    assert len(seen) == 5
    assert not explorer.notice.is_error  # what cannot be drawn of so short a run says so in the picture


def test_a_new_setting_ends_the_replay_under_way(config, inventory):
    trace = long_trace()
    explorer = PolicyExplorer(trace, config, inventory)
    explorer.wait()
    explorer._expected_s = 10.0
    ended = []
    begun = threading.Event()

    def look(share):
        if not begun.is_set():  # it is not done before the next setting comes
            begun.set()
            assert explorer._latest._outdated.wait(10)

    explorer._latest._progress = look
    original = explorer._replay

    def noted(task, preview=False):
        try:
            return original(task, preview)
        except BaseException as error:
            ended.append(type(error).__name__)
            raise

    explorer._replay = noted
    move(explorer, "admission", "compete")
    assert begun.wait(10)
    move(explorer, "admission", "free_only")
    assert explorer.result.figures["mode"] == "simulate"
    assert ended == ["_Ended"]
    assert same(explorer.result, replay(trace, explorer.config, inventory))
    assert explorer.config.admission == "free_only"


def test_stop_leaves_what_was_shown_and_the_result_can_still_be_had(config, inventory):
    trace = long_trace()
    explorer = PolicyExplorer(trace, config, inventory)
    explorer._expected_s = 10.0
    move(explorer, "admission", "compete")
    explorer.progress.stop.click()
    assert not explorer._latest.busy
    assert "stopped" in explorer.progress.line.value
    assert same(explorer.result, replay(trace, explorer.config, inventory))


def long_trace():
    models = ["face", "small", "large", "small", "guard", "large"] * 10_000
    frame = pd.DataFrame({"time_s": [float(second) for second in range(len(models))], "model": models})
    return Trace.from_frame(frame, "long")


def test_the_memory_stands_in_the_title(config):
    assert memory_text(config) == "24 MB card, 20 MB for models: critical 4, high_priority 6, flexible 10"
    small = load_config(None, ["total_memory_mb=12288", "zones={flexible: {size_mb: 6144}}"])
    assert memory_text(small).endswith("11,488 MB for models, 6,144 MB of it in use (its zone)")
