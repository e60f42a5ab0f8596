"""What is damaged in a journal's file costs the lines that it stands in, and is named."""

import gzip
import json
import logging
import os

import pytest

from tests.simulation.workloads import plain_cache, workload
from vramlab.config.errors import InputError
from vramlab.engine.journal import Journal, Line, encode
from vramlab.engine.requests import Request
from vramlab.runs.journal_reading import JournalTail, read_journal
from vramlab.simulation.replaying import simulate

BYTES = int(os.environ.get("VRAMLAB_JOURNAL_BYTES", "1200"))  # 4096 takes a minute


@pytest.fixture(scope="module")
def text():
    trace, inventory, capacity_mb = workload(requests=12, share=0.3)
    journal = Journal()
    simulate(trace, plain_cache(capacity_mb, "optimization.monitor=true"), inventory, journal=journal)
    journal.put(1e6, 99, Request("a", 3, requester="zoë", input_key="k"), None)
    return "".join(journal.texts()).encode()[-BYTES:].split(b"\n", 1)[1]


@pytest.fixture(autouse=True)
def silent():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_every_prefix_is_read_up_to_its_last_whole_line(text, tmp_path):
    path = tmp_path / "j.jsonl"
    path.write_bytes(text)
    whole = read_journal(path)
    for length in range(len(text)):
        path.write_bytes(text[:length])
        lines = read_journal(path)
        assert lines == whole[: len(lines)]
        assert not lines.damaged
        assert len(lines) - text[:length].count(b"\n") in (0, 1)  # a last line may lack its end alone


def test_a_changed_byte_costs_its_line_alone_and_the_line_is_named(text, tmp_path):
    path = tmp_path / "j.jsonl"
    path.write_bytes(text)
    whole = read_journal(path)
    ends = [place for place, byte in enumerate(text) if byte == 10]
    for place in range(len(text)):
        number = sum(end < place for end in ends)  # of the line that is hit, from 0
        for byte in (b"\xff", b"\n", b'"', b"9"):
            path.write_bytes(text[:place] + byte + text[place + 1 :])
            lines = read_journal(path)
            assert lines[:number] == whole[:number]
            unharmed = whole[number + (2 if text[place] == 10 else 1) :]
            assert not unharmed or lines[-len(unharmed) :] == unharmed
            # a digit for another leaves a line; whatever does not is named
            for damage in lines.damaged:
                assert damage.line - 1 in (number, number + 1)
            if byte == b"\xff" and text[place] != 10:
                assert [damage.line for damage in lines.damaged] in ([number + 1], [])


@pytest.mark.parametrize(
    "row",
    [
        b"[1, 2]",
        b'"arrival"',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"time_s": "now", "event": "arrival", "task": 1, "model": "a"}',
        b'{"time_s": NaN, "event": "arrival", "task": 1, "model": "a"}',
        b'{"time_s": 1e999, "event": "arrival", "task": 1, "model": "a"}',
        b'{"time_s": 1, "event": "arrival", "task": [1], "model": "a"}',
        b'{"time_s": 1, "event": "arrival", "task": 1, "model": 7}',
        b'{"time_s": 1, "event": "arrival", "task": 1, "model": "a", "detail": {"items": 0}}',
        b'{"time_s": 1, "event": "arrival", "task": 1, "model": "a", "detail": {"priority": "urgent"}}',
        b'{"time_s": 1, "event": "arrival", "task": 1, "model": "a", "detail": {"more": 1}}',
        b'{"time_s": 1, "event": "end", "task": 1, "what": "readmemory", "detail": {"total_bytes": 1}}',
        b'{"time_s": 1, "event": "end", "task": 1, "size_bytes": "many"}',
    ],
    ids=lambda row: row[:40].decode(),
)
def test_json_of_the_wrong_kind_is_no_line(row, tmp_path, caplog):
    logging.disable(logging.NOTSET)
    arrival = encode(Line(0.0, "arrival", 0, "a")).encode()
    path = tmp_path / "j.jsonl"
    path.write_bytes(arrival + b"\n" + row + b"\n" + arrival + b"\n")
    lines = read_journal(path)
    assert len(lines) == 2
    assert lines.whole == 1
    assert [damage.line for damage in lines.damaged] == [2]
    assert "line 2 is damaged and left out" in caplog.text
    tail = JournalTail(path)
    assert len(tail.read()) == 2
    tail.close()


def test_a_packed_journal_is_read_up_to_the_damage(text, tmp_path):
    path = tmp_path / "j.jsonl.gz"
    packed = gzip.compress(text) + gzip.compress(text)
    path.write_bytes(packed)
    whole = read_journal(path)
    assert not whole.damaged
    assert len(whole) == 2 * text.count(b"\n")
    for place in range(len(packed) // 3, len(packed), 37):
        path.write_bytes(packed[:place])
        lines = read_journal(path)
        assert lines[: lines.whole] == whole[: lines.whole]
        path.write_bytes(packed[:place] + bytes([packed[place] ^ 0x55]) + packed[place + 1 :])
        lines = read_journal(path)
        assert lines.damaged
    path.write_bytes(b"no gzip")
    with pytest.raises(InputError, match="damaged packed data"):
        read_journal(path)


def test_a_value_that_json_does_not_know_costs_no_line():
    journal = Journal()
    journal.write(0.0, "arrival", 0, "a", detail={"requester": object()})
    journal.write(1.0, "arrival", 1, "a", detail={"requester": {(1, 2): 3}})  # a key that is none
    journal.put(2.0, 2, Request("a"), None)
    rows = [json.loads(row) for row in journal.take_text().splitlines()]
    assert [row["event"] for row in rows] == ["arrival", "unwritable", "arrival"]
    assert len(journal) == 0
