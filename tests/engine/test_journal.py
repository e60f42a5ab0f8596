"""The journal's text, made by form, against plain JSON line by line; and taking lines while others write."""

import gzip
import threading

from tests.simulation.workloads import plain_cache, workload
from vramlab.engine.journal import Journal, Line, encode
from vramlab.engine.outcomes import Outcome
from vramlab.engine.requests import Request
from vramlab.runs.journal_reading import read_journal
from vramlab.runs.journal_writing import write_journal
from vramlab.simulation.replaying import simulate


def journal_of_a_run():
    trace, inventory, capacity_mb = workload(requests=500, share=0.3)
    journal = Journal()
    simulate(trace, plain_cache(capacity_mb, "optimization.monitor=true"), inventory, journal=journal)
    return journal


def test_texts_are_the_lines_as_json():
    journal = journal_of_a_run()
    lines = list(journal)
    assert len(lines) == len(journal) > 2500
    assert "".join(journal.texts()) == "".join(f"{encode(line)}\n" for line in lines)


def test_names_and_texts_are_escaped():
    journal = Journal()
    journal.put(0.5, 0, Request('a "b"', 2, requester="zoë\\"), None)
    journal.write(1, "begin", 'load "1"', 'a "b"')
    journal.unanswered(1.25, 0, Outcome.FAILED, 0.5, "line\nend")
    assert "".join(journal.texts()) == "".join(f"{encode(line)}\n" for line in journal)
    first, _, last = journal
    assert first.detail == {"items": 2, "requester": "zoë\\"}
    assert last == Line(1.25, "done", 0, None, "FAILED", None, None, 0.75, "line\nend")


def test_files_plain_and_packed(tmp_path):
    journal = journal_of_a_run()
    write_journal(journal, tmp_path / "j.jsonl")
    write_journal(journal, tmp_path / "j.jsonl.gz")
    plain = (tmp_path / "j.jsonl").read_bytes()
    assert gzip.decompress((tmp_path / "j.jsonl.gz").read_bytes()) == plain
    assert read_journal(tmp_path / "j.jsonl.gz") == list(journal)


def test_taking_loses_no_line_and_breaks_none():
    journal, texts = Journal(), []
    count = 20_000

    def write():
        for number in range(count):
            journal.put(float(number), number, Request("a"), None)

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        texts.append(journal.take_text())
    writer.join()
    texts.append(journal.take_text())
    assert len(journal) == 0
    rows = "".join(texts).splitlines()
    assert rows == [encode(Line(float(n), "arrival", n, "a")) for n in range(count)]


def test_of_a_line_that_is_half_written_nobody_sees_a_part():
    journal, line = Journal(), Line(0.5, "arrival", 0, "a")
    journal.put(0.5, 0, Request("a"), None)
    journal._entries.extend((0.75, 1))  # another thread is in the middle of `put`
    assert list(journal) == [line]
    assert "".join(journal.texts()) == encode(line) + "\n"
    assert journal.take() == [line]
    journal._entries.extend((Request("b"), None))
    assert journal.take() == [Line(0.75, "arrival", 1, "b")]
