"""Memory maps of a run: each moment holds what the journal says, and the widget shows it."""

import pytest

from vramlab.config.errors import InputError
from vramlab.config.units import MIB
from vramlab.experiments.replay import replay
from vramlab.widgets import MemoryMap
from vramlab.widgets.memory_history import memory_history


@pytest.fixture
def run(trace, config, inventory):
    return replay(trace, config, inventory, journal=True)


def test_the_history_is_that_of_the_records(run, config, inventory):
    history = memory_history(run, config, inventory)
    times = [moment.time_s for moment in history.moments]
    assert times == sorted(times)
    evicted = [name for moment in history.moments for name in moment.evicted]
    assert sorted(evicted) == sorted(record.model for record in run.records.evictions)
    for moment in history.moments:
        for zone, size_mb in {"critical": 4, "high_priority": 6, "flexible": 10}.items():
            blocks = [block for block in moment.layout if block.zone == zone]
            assert [block.offset_bytes for block in blocks] == [
                sum(block.size_bytes for block in blocks[:place]) for place in range(len(blocks))
            ]
            assert sum(block.size_bytes for block in blocks) == size_mb * MIB


def test_states_of_one_swap_by_hand(run, config, inventory):
    """small is resident when large is asked for at 2 s: it leaves, is gone, large loads, is there."""
    history = memory_history(run, config, inventory)
    moments = [moment for moment in history.moments if 2.0 <= moment.time_s < 3.0]
    assert [moment.events for moment in moments] == [
        ("small leaves",),
        ("small is gone", "large begins to load"),
        ("large is loaded",),
    ]
    assert [moment.states for moment in moments] == [
        {"small": "evicting", "large": "loading"},  # which has a claim on the bytes, and no place yet
        {"large": "loading"},
        {},
    ]
    assert "large" not in set(moments[0].frame()["model"])
    assert moments[0].evicted == ("small",)
    assert history.at(2.5) == history.moments.index(moments[-1])
    assert history.at(-1.0) == 0
    assert "flexible" in moments[0]._repr_html_()


def test_scrubbing_and_jumping(run, config, inventory):
    view = MemoryMap(run, config, inventory)
    first = view.picture.value
    view.slider.value = 5
    assert view.picture.value != first
    assert view.moment is view.history.moments[5]
    view.go_to(0.0)
    view.forward.click()
    assert view.moment.evicted == ("small",)
    assert "small leaves" in view.caption.value
    view.forward.click()
    assert view.moment.evicted == ("large",)
    view.back.click()
    assert view.moment.evicted == ("small",)
    assert "MemoryMap(replay" in repr(view)


def test_a_replay_without_journal_is_refused(trace, config, inventory):
    with pytest.raises(InputError, match="journal=True"):
        MemoryMap(replay(trace, config, inventory), config, inventory)


def test_other_settings_than_the_runs_are_refused(run, config, inventory):
    other = config.model_copy(update={"admission": "free_only"})
    with pytest.raises(InputError, match="follows under these settings"):
        MemoryMap(run, other, inventory)


def test_contiguous_placement(trace, config, inventory):
    contiguous = config.model_copy(update={"placement": "contiguous"})
    view = MemoryMap(replay(trace, contiguous, inventory, journal=True), contiguous, inventory)
    assert len(view.history) > 10
