"""The later part of a run's records: requests by arrival, everything else by its own time."""

import copy
import pickle

import numpy as np
import pytest

from vramlab.config.errors import InputError
from vramlab.engine.outcomes import (
    EvictionRecord,
    LoadRecord,
    LossRecord,
    Outcome,
    PreloadRecord,
    UsageRecord,
)
from vramlab.runs.records import Records
from vramlab.runs.usage import Usage


def test_records_since_a_moment():
    loads = [LoadRecord(t, t + 1, name, "z", 5) for t, name in ((0.0, "a"), (2.0, "b"))]
    evictions = [EvictionRecord(t, "a", "z", 5) for t in (1.9, 2.0)]
    usage = [UsageRecord(t, (size,)) for t, size in ((0.0, 1), (1.0, 2), (3.0, 3))]
    lost = [LossRecord(1, Outcome.REFUSED, "no room"), LossRecord(3, Outcome.FAILED, "corrupt")]
    preloads = [PreloadRecord(t, "a", "z", 5, 0.5) for t in (1.0, 4.0)]
    whole = Records(
        ["a", "b"],
        np.array([0, 1, 1, 0], np.int32),
        np.array([0.0, 1.0, 2.0, 3.0]),
        np.array([0, 4, 0, 6], np.uint8),
        np.array([0.5, 1.0, 2.5, 3.0]),
        ["z"],
        loads,
        evictions,
        usage,
        lost,
        {"delayed": 1},
        preloads,
    )
    later = whole.since(2.0)
    assert len(later) == 2
    assert later.model_codes.tolist() == [1, 0]
    assert later.arrival_s.tolist() == [2.0, 3.0]
    assert later.outcomes.tolist() == [0, 6]
    assert later.finish_s.tolist() == [2.5, 3.0]
    assert later.loads == loads[1:]
    assert later.evictions == evictions[1:]
    assert later.usage == [UsageRecord(2.0, (2,)), UsageRecord(3.0, (3,))]  # what was held when it began
    assert later.lost == [LossRecord(1, Outcome.FAILED, "corrupt")]
    assert later.preloads == preloads[1:]
    assert later.faults == {"delayed": 1}
    assert len(whole) == 4
    same = whole.from_request(2)
    for name in vars(later):
        np.testing.assert_equal(getattr(same, name), getattr(later, name))
    assert whole.from_request(0) is whole
    with pytest.raises(InputError, match="part: first: found 4, expected a request from 0 to 3"):
        whole.from_request(4)


@pytest.mark.parametrize("travelled", [copy.deepcopy, lambda usage: pickle.loads(pickle.dumps(usage))])
def test_what_was_held_travels_to_other_processes_compiled_too(travelled):
    usage = Usage(2)
    usage.append(0.5, [1, 2])
    usage.append(1.5, [3, 0])
    assert list(travelled(usage)) == [UsageRecord(0.5, (1, 2)), UsageRecord(1.5, (3, 0))]


def test_rows_travel_to_other_processes_as_what_they_are():
    loads = [LoadRecord(0.0, 1.0, "a", "z", 5), LoadRecord(2.0, 3.0, "a", "z", 5, "preload", "corrupt")]
    lost, ends = [LossRecord(1, Outcome.FAILED, "no room")], np.zeros(2, dtype=np.uint8)
    times, codes = np.array([0.0, 2.0]), np.zeros(2, dtype=np.int32)
    records = Records(["a"], codes, times, ends, times + 1, ["z"], loads, lost=lost)
    travelled = pickle.loads(pickle.dumps(records))
    assert (travelled.loads, travelled.evictions, travelled.lost) == (loads, [], lost)
    assert [type(row) for row in (*travelled.loads, *travelled.lost)] == [LoadRecord, LoadRecord, LossRecord]
    assert records.loads is loads


def test_a_later_part_begins_with_what_was_held_compiled_too():
    usage = Usage(1)
    for time_s, size in ((0.0, 1), (1.0, 2), (3.0, 3)):
        usage.append(time_s, [size])
    codes, ends = np.zeros(2, dtype=np.int32), np.zeros(2, dtype=np.uint8)
    records = Records(["a"], codes, np.array([0.0, 2.0]), ends, np.array([1.0, 3.0]), ["z"], usage=usage)
    assert records.from_request(1).usage == [UsageRecord(2.0, (2,)), UsageRecord(3.0, (3,))]
