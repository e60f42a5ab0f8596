"""Tables, JSON and logs as people have them: each kind comes in right, or is refused with what to do."""

import bz2
import gzip
import io
import json
import lzma
import re
import tarfile
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vramlab.config.errors import InputError
from vramlab.traces.importers import ImportOptions, make_importer
from vramlab.traces.importers.layout import find_layout

WHEN = {"time": "when", "model": "net"}


def written(tmp_path, content, name="calls.csv"):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content, encoding="utf-8", newline="")
    return path


def imported(tmp_path, content, kind="csv", name="calls.csv", **options):
    trace, report = make_importer(kind)(written(tmp_path, content, name), ImportOptions(**options))
    return trace.times_s.tolist(), trace.frame["model"].tolist(), report


def refusal(tmp_path, content, kind="csv", name="calls.csv", **options):
    with pytest.raises(InputError) as caught:
        imported(tmp_path, content, kind, name, **options)
    return str(caught.value).removeprefix(f"{tmp_path / name}: ")


# -- how a table is written --------------------------------------------------------------------------

TABLES = {
    "semicolons": "when;net\n1.5;a, b\n2.5;c\n",
    "tabs": "when\tnet\n1.5\ta, b\n2.5\tc\n",
    "bars": "when|net\n1.5|a, b\n2.5|c\n",
    "Excel's own line": "sep=;\r\nwhen;net\r\n1.5;a, b\r\n2.5;c\r\n",
    "quotes": 'when,net\n1.5,"a, b"\n2.5,c\n',
    "blanks after commas": "when, net\n1.5, a; b\n2.5, c\n",
    "blanks before quotes": 'when, net\n1.5, "a; b"\n2.5, c\n',
    "carriage returns alone": 'when,net\r1.5,"a, b"\r2.5,c\r',
    "a commented header": '# exported today\n# when,net\n1.5,"a, b"\n2.5,c\n',
    "a comment before the header": '# exported by x\nwhen,net\n1.5,"a, b"\n2.5,c\n',
    "a psql table": " when | net \n------+------\n  1.5 | a, b\n  2.5 | c\n(2 rows)\n",
    "a mysql table": "+------+------+\n| when | net  |\n+------+------+\n"
    "| 1.5  | a, b |\n| 2.5  | c    |\n+------+------+\n",
    "a delimiter at each end of line": 'when,net\n1.5,"a, b",\n2.5,c,\n',
    "other columns named twice or not at all": 'when,net,x,x,\n1.5,"a, b",1,2,3\n2.5,c,1,2,3\n',
    "blank lines": 'when,net\n\n1.5,"a, b"\n\n\n2.5,c\n\n',
}  # fmt: skip


@pytest.mark.parametrize("text", TABLES.values(), ids=TABLES.keys())
def test_tables_are_read_however_they_are_written(tmp_path, text):
    times, models, report = imported(tmp_path, text, columns=WHEN)
    assert times == [0.0, 1.0]
    assert models in (["a, b", "c"], ["a; b", "c"])
    assert report.rows_read == 2
    assert report.dropped == {}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_other_encodings(tmp_path, encoding):
    text = "when,net\n1,prüfer\n3,b\n"
    given = {} if encoding != "utf-16-le" else {"encoding": encoding}
    assert imported(tmp_path, text.encode(encoding), columns=WHEN, **given)[1] == ["prüfer", "b"]


def test_a_bad_byte_matters_where_it_is_needed(tmp_path):
    data = "when,net,who\n1,a,Ren\xe9\n2,b,x\n".encode("latin-1")
    assert imported(tmp_path, data, columns=WHEN)[1] == ["a", "b"]
    columns = WHEN | {"requester": "who"}
    said = refusal(tmp_path, data, columns=columns)
    assert said.startswith("line 2 column who: found bytes that are not UTF-8")
    assert "--encoding NAME, such as cp1252" in said
    assert imported(tmp_path, data, columns=columns, skip_bad_rows=1)[1] == ["b"]
    path = written(tmp_path, data)
    trace, _ = make_importer("csv")(path, ImportOptions(columns=columns, encoding="cp1252"))
    assert trace.requesters.tolist() == ["René", "x"]
    header = "when,net,gr\xf6\xdfe\n1,a,2\n2,b,3\n".encode("latin-1")
    assert imported(tmp_path, header, columns=WHEN)[1] == ["a", "b"]


def test_tables_without_a_header(tmp_path):
    text = "2026-11-02 08:00:00,alpha\n2026-11-02 08:00:03,beta\n"
    by_number = {"time": "1", "model": "2"}
    times, models, report = imported(tmp_path, text, columns=by_number)
    assert (times, models) == ([0.0, 3.0], ["alpha", "beta"])
    assert report.notes == ("no header found: columns by number, 1 to 2",)
    assert imported(tmp_path, text, columns=by_number, header=False)[0] == [0.0, 3.0]
    assert "the first row is 2026-11-02 08:00:00, alpha" in refusal(tmp_path, text)
    assert "--columns time=1,model=2" in refusal(tmp_path, text)
    # by number where there is a header too, also of a name that is there twice
    assert imported(tmp_path, "at,x,x\n1,a,p\n2,b,q\n", columns={"time": "1", "model": "3"})[1] == ["p", "q"]
    assert "twice" in refusal(tmp_path, "at,x,x\n1,a,p\n", columns={"time": "at", "model": "x"})


def test_lines_are_those_of_an_editor(tmp_path):
    text = '# made by x\nwhen,net\n\n1,"a\nb"\n\n\nsoon,c\n'
    assert refusal(tmp_path, text, columns=WHEN).startswith(
        "line 8 column when: found 'soon', expected a finite"
    )
    report = imported(tmp_path, text, columns=WHEN, skip_bad_rows=1)[2]
    assert report.notes[0].startswith("the first malformed row: line 8 column when: found 'soon'")
    assert refusal(tmp_path, "when,net\n1,a\n2", columns=WHEN).startswith(
        "line 3: found 1 fields, expected the 2 of the header"
    )
    lines = '{"when": 1, "net": "a"}\n\n{"when": "x", "net": "b"}\n'
    assert refusal(tmp_path, lines, columns=WHEN).startswith("line 3 column when: found 'x'")


def test_a_missing_column_is_told_with_the_likely_command(tmp_path):
    text = "id,called_at,endpoint,note\n7,2026-11-02 08:00:00,a,x\n8,2026-11-02 08:00:01,b,y\n"
    assert refusal(tmp_path, text) == (
        "column time_s: found only id, called_at, endpoint, note, expected that column, "
        "or --columns time=called_at,model=endpoint"
    )
    spaced = text.replace("called_at", "called at")
    assert "--columns 'time=called at,model=endpoint'" in refusal(tmp_path, spaced)


def test_files_that_are_no_table_say_what_they_are(tmp_path):
    assert "sqlite3 -csv" in refusal(tmp_path, b"SQLite format 3\0" + bytes(100))
    assert "found XML or HTML" in refusal(tmp_path, "<?xml version='1.0'?><a/>")
    assert "found bytes that are no text" in refusal(tmp_path, bytes(range(256)) * 4)
    book = io.BytesIO()
    with zipfile.ZipFile(book, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", "<workbook/>")
    assert "found an Excel workbook" in refusal(tmp_path, book.getvalue())
    with pytest.raises(InputError, match="found a folder, expected a file"):
        make_importer("csv")(tmp_path, ImportOptions())


def test_an_error_never_prints_the_file(tmp_path):
    huge = json.dumps({"calls": ["x" * 100] * 9_000})
    for kind in ("csv", "perf-analyzer", "triton", "libcachesim-csv"):
        assert len(refusal(tmp_path, huge, kind)) < 1_000
    assert len(refusal(tmp_path, "when,net\n" + "x" * 900_000 + ",a\n", columns=WHEN)) < 1_000


# -- packed ------------------------------------------------------------------------------------------

PLAIN = b"when,net\n1,a\n3,b\n"


def zipped(*names):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in names:
            archive.writestr(name, PLAIN)
    return data.getvalue()


def tarred(*names, mode="w:gz"):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as archive:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = len(PLAIN)
            archive.addfile(entry, io.BytesIO(PLAIN))
    return data.getvalue()


def zstandard(data):
    return pa.compress(data, codec="zstd", asbytes=True)


PACKED = {
    "a.csv.gz": gzip.compress(PLAIN),
    "two.csv.gz": gzip.compress(PLAIN[:13]) + gzip.compress(PLAIN[13:]),
    "a.csv.xz": lzma.compress(PLAIN),
    "a.csv.bz2": bz2.compress(PLAIN),
    "a.csv.zst": zstandard(PLAIN),
    "a.zip": zipped("a.csv"),
    "mac.zip": zipped("a.csv", "__MACOSX/._a.csv"),
    "a.tar.gz": tarred("a.csv"),
    "a.tgz": tarred("a.csv", ".hidden"),
    "a.tar.xz": tarred("a.csv", mode="w:xz"),
    "a.tar": tarred("a.csv", mode="w"),
    "no_suffix": gzip.compress(PLAIN),
}


@pytest.mark.parametrize("name", PACKED)
def test_packed_files_are_unpacked_by_what_they_are(tmp_path, name):
    times, models, _ = imported(tmp_path, PACKED[name], name=name, columns=WHEN)
    assert (times, models) == ([0.0, 2.0], ["a", "b"])


def test_archives_of_several_files_and_broken_ones_are_refused(tmp_path):
    for name, data in (("b.zip", zipped("a.csv", "b.csv")), ("b.tar.gz", tarred("a.csv", "b.csv"))):
        assert refusal(tmp_path, data, name=name, columns=WHEN).startswith(
            "found 2 files in it (a.csv, b.csv), expected one"
        )
    for name in PACKED:
        if ".tar" not in name:  # whose end is not looked at
            assert "expected" in refusal(tmp_path, PACKED[name][:-12], name=name, columns=WHEN)
    assert "what its suffix says" in refusal(tmp_path, PLAIN, name="plain.csv.gz", columns=WHEN)


# -- times -------------------------------------------------------------------------------------------

HOUR = [0.0, 3600.5]
DATES = {
    "2026-11-02 08:00:00": "2026-11-02 09:00:00.5",
    "2026-11-02T08:00": "2026-11-02T09:00:00.5",
    "2026-11-02T08:00:00Z": "2026-11-02T11:00:00.500+02:00",
    "2026-11-02 08:00:00 UTC": "2026-11-02 09:00:00.5 UTC",
    "2026-11-02 08:00:00+00": "2026-11-02 09:00:00.5+00",
    "2026-11-02 08:00:00 +0000": "2026-11-02 10:00:00.5 +0100",
    "2026-11-02 08:00:00,000": "2026-11-02 09:00:00,500",
    "2026-11-02 08:00:00.0 +0000 UTC m=+1.0": "2026-11-02 09:00:00.5 +0000 UTC m=+3601.5",
    "2026-11-02T08:00:00+01:00[Europe/Berlin]": "2026-11-02T09:00:00.5+01:00[Europe/Berlin]",
    "2026/11/02 08:00:00": "2026/11/02 09:00:00.5",
    "2026/11/02 - 08:00:00": "2026/11/02 - 09:00:00.5",
    "20261102T080000Z": "20261102T090000.5Z",
    "20261102080000.0": "20261102090000.5",
    "20261102080000000": "20261102090000500",
    "20261102 08:00:00": "20261102 09:00:00.5",
    "02.11.2026 08:00:00": "02.11.2026 09:00:00,5",
    "2.11.2026 8:00": "2.11.2026 9:00:00.5",
    "30/11/2026 08:00:00": "30/11/2026 09:00:00.5",
    "11/30/2026, 8:00:00 AM": "11/30/2026, 9:00:00.5 AM",
    "11/30/2026 11:30:00 AM": "11/30/2026 12:30:00.5 PM",
    "02/Nov/2026:08:00:00 +0100": "02/Nov/2026:09:00:00.5 +0100",
    "[02/Nov/2026:08:00:00 +0100]": "[02/Nov/2026:09:00:00.5 +0100]",
    "02-Nov-2026 08:00:00": "02-Nov-2026 09:00:00.5",
    "Mon, 02 Nov 2026 08:00:00 GMT": "Mon, 02 Nov 2026 09:00:00.5 GMT",
    "Nov 2, 2026 @ 08:00:00.000": "Nov 2, 2026 @ 09:00:00.500",
    "Mon Nov  2 08:00:00 2026": "Mon Nov  2 09:00:00.5 2026",
    "08:00:00": "09:00:00.5",
    "2500-01-01 00:00:00": "2500-01-01 01:00:00.5",
    "1762070400": "1762074000.5",
    "1.7620704e9": "1.7620740005E+09",
    " 5": "3605.5 ",
}


@pytest.mark.parametrize(("first", "second"), DATES.items())
def test_times_are_read_in_every_usual_shape(tmp_path, first, second):
    assert imported(tmp_path, f"when,net\n{first},a\n".replace(first, f'"{first}"') + f'"{second}",b\n', columns=WHEN)[0] == HOUR  # fmt: skip  # noqa: E501


def test_nanoseconds_are_exact_in_dates_and_numbers(tmp_path):
    text = "when,net\n2026-11-02T08:00:00.123456789Z,a\n2026-11-02T08:00:00.123456999Z,b\n"
    assert imported(tmp_path, text, columns=WHEN)[0] == [0.0, 2.1e-7]
    text = "when,net\n1759522419154829652,a\n1759522419155727799,b\n"
    assert imported(tmp_path, text, columns=WHEN, time_unit="ns")[0] == [0.0, 898_147e-9]
    # a bad row costs the others nothing
    text += "x,c\n1759522419155727800,d\n"
    times = imported(tmp_path, text, columns=WHEN, time_unit="ns", skip_bad_rows=1)[0]
    assert times == [0.0, 898_147e-9, 898_148e-9]


@pytest.mark.parametrize(
    ("number", "unit"), [(1745390589957, "ms"), (1745390589957123, "us"), (1745390589957123456, "ns")]
)
def test_numbers_that_look_like_another_unit_are_asked_about(tmp_path, number, unit):
    text = f"ts,net\n{number},a\n{number + {'ms': 10**3, 'us': 10**6, 'ns': 10**9}[unit]},b\n"
    columns = {"time": "ts", "model": "net"}
    said = refusal(tmp_path, text, columns=columns)
    assert said.startswith(f"column ts: found {number}, expected a unit, as it looks like {unit} since 1970")
    assert said.endswith(f"(2025-04-23 06:43:09 UTC): --time-unit {unit}")
    assert imported(tmp_path, text, columns=columns, time_unit=unit)[0] == [0.0, 1.0]
    # a column that says its unit is believed
    named = text.replace("ts,", f"ts_{unit},")
    times, _, report = imported(tmp_path, named, columns={"time": f"ts_{unit}", "model": "net"})
    assert times == [0.0, 1.0]
    assert f"times in {unit}, as the column ts_{unit} is called" in report.notes


def test_what_may_be_read_in_two_ways_is_asked_about(tmp_path):
    text = "when,net\n11/2/2026 8:00:00 AM,a\n11/3/2026 8:00:00 AM,b\n"
    said = refusal(tmp_path, text, columns=WHEN)
    assert "--time-format '%d/%m/%Y %I:%M:%S %p' the day, '%m/%d/%Y %I:%M:%S %p' the month" in said
    for format_, days in (("%m/%d/%Y %I:%M:%S %p", 1), ("%d/%m/%Y %I:%M:%S %p", 28)):
        assert imported(tmp_path, text, columns=WHEN, time_format=format_)[0] == [0.0, days * 86_400.0]
    text = "when,net\n20261102,a\n20261103,b\n"
    assert "--time-format %Y%m%d where it is a date, --time-unit s" in refusal(tmp_path, text, columns=WHEN)
    assert imported(tmp_path, text, columns=WHEN, time_format="%Y%m%d")[0] == [0.0, 86_400.0]
    assert imported(tmp_path, text, columns=WHEN, time_unit="s")[0] == [0.0, 1.0]
    text = "when,net\n46328.3333333,a\n46328.3750000,b\n"
    assert "--time-unit d where it is a date of Excel" in refusal(tmp_path, text, columns=WHEN)
    assert imported(tmp_path, text, columns=WHEN, time_unit="d")[0] == pytest.approx(
        [0.0, 3600.003], abs=1e-3
    )


def test_a_later_cell_settles_whether_days_or_months_come_first(tmp_path):
    text = "when,net\n2/11/2026 08:00,a\n2/11/2026 09:00,b\n13/11/2026 08:00,c\n"
    times, _, report = imported(tmp_path, text, columns=WHEN)
    assert times == [0.0, 3600.0, 11 * 86_400.0]
    assert "times such as 2/11/2026 08:00 taken as: day first" in report.notes


def test_the_first_cell_may_be_empty_or_odd(tmp_path):
    text = "when,net\n,a\n2026-11-02 08:00:00,b\n2026-11-02 08:00:02,c\n"
    said = refusal(tmp_path, text, columns=WHEN)
    assert said.startswith("line 2 column when: found nothing, expected a date such as 2026-11-02 08:00:00")
    assert imported(tmp_path, text, columns=WHEN, skip_bad_rows=1)[0] == [0.0, 2.0]


def test_numbers_and_dates_do_not_mix(tmp_path):
    text = "when,net\n1762070400,a\n2025-11-02 08:00:01,b\n"
    said = refusal(tmp_path, text, columns=WHEN)
    assert said.startswith(
        "line 3 column when: found '2025-11-02 08:00:01', expected a finite number, such as"
    )
    text = "when,net\n1762070400,a\n1762070401000,b\n1762070402,c\n"
    assert refusal(tmp_path, text, columns=WHEN).startswith("line 3 column when: found '1762070401000', expected a time in s")  # fmt: skip  # noqa: E501


def test_times_without_a_zone_among_those_with_one_are_an_error(tmp_path):
    text = "when,net\n2026-11-02T08:00:00+01:00,a\n2026-11-02T08:00:01,b\n"
    said = refusal(tmp_path, text, columns=WHEN)
    assert said.startswith("line 3 column when: found '2026-11-02T08:00:01', expected a time with a zone")
    assert "--time-zone" in said
    assert imported(tmp_path, text, columns=WHEN, time_zone="Europe/Berlin")[0] == [0.0, 1.0]
    text = "when,net\n2026-11-02T08:00:00,a\n2026-11-02T08:00:01Z,b\n"
    assert "expected a time without a zone" in refusal(tmp_path, text, columns=WHEN)


def test_the_hour_that_a_clock_shows_twice(tmp_path):
    stamps = ["02:59:58", "02:59:59", "02:00:01", "02:30:00", "03:00:00"]
    text = "when,net\n" + "".join(f"2026-10-25T{stamp},a\n" for stamp in stamps)
    said = refusal(tmp_path, text, columns=WHEN)
    assert said.startswith(
        "line 4 column when: found 2026-10-25T02:00:01, before the row above it, expected no step"
    )
    assert "--time-zone Europe/Berlin" in said
    times, _, report = imported(tmp_path, text, columns=WHEN, time_zone="Europe/Berlin")
    assert times == [0.0, 1.0, 3.0, 1802.0, 3602.0]
    assert any("had twice" in note for note in report.notes)
    # the hour that there was not
    text = "when,net\n2026-03-29T01:59:59,a\n2026-03-29T02:30:00,b\n2026-03-29T03:00:00,c\n"
    said = refusal(tmp_path, text, columns=WHEN, time_zone="Europe/Berlin")
    assert said.startswith(
        "line 3 column when: found '2026-03-29T02:30:00', expected a time that there was in"
    )
    times = imported(tmp_path, text, columns=WHEN, time_zone="Europe/Berlin", skip_bad_rows=1)[0]
    assert times == [0.0, 1.0]


def test_times_of_day_go_on_over_midnight(tmp_path):
    text = "when,net\n23:59:59.5,a\n00:00:00.5,b\n23:00:00,c\n01:00:00,d\n"
    times, _, report = imported(tmp_path, text, columns=WHEN)
    assert times == [0.0, 1.0, 82_800.5, 90_000.5]
    assert any("a step back of half a day is the next day" in note for note in report.notes)
    text = "when,net\nDec 31 23:59:59,a\nJan  1 00:00:01,b\n"
    assert imported(tmp_path, text, columns=WHEN, time_format="%b %e %H:%M:%S")[0] == [0.0, 2.0]


def test_formats_that_are_given(tmp_path):
    text = "when,net\n02.11.26 8.00 Uhr,a\n03.11.26 8.00 Uhr,b\n"
    assert "--time-format" in refusal(tmp_path, text, columns=WHEN)
    assert imported(tmp_path, text, columns=WHEN, time_format="%d.%m.%y %H.%M Uhr")[0] == [0.0, 86_400.0]
    assert "found '%Q', expected one of" in refusal(tmp_path, text, columns=WHEN, time_format="%Y %Q")
    assert "each part of a date once" in refusal(tmp_path, text, columns=WHEN, time_format="%Y %Y")
    assert refusal(tmp_path, text, columns=WHEN, time_format="%Y-%m-%d").startswith("line 2 column when")
    with pytest.raises(InputError, match=r"time_zone: found 'Europe/Berln', .*did you mean 'Europe/Berlin'"):
        ImportOptions(time_zone="Europe/Berln")


def test_no_date_of_the_calendar_is_malformed(tmp_path):
    text = "when,net\n2026-02-28 08:00:00,a\n2026-02-29 08:00:00,b\n"
    assert refusal(tmp_path, text, columns=WHEN).startswith("line 3 column when: found '2026-02-29 08:00:00'")
    text = "when,net\n13/12/2026 08:00,a\n32/12/2026 08:00,b\n"
    assert refusal(tmp_path, text, columns=WHEN).startswith("line 3 column when: found '32/12/2026 08:00'")


def test_shapes_are_read_as_pandas_reads_them(tmp_path):
    rng = np.random.default_rng(4)
    days = pd.to_datetime(rng.integers(0, 4_000_000_000, 500), unit="s").sort_values()
    for pattern in (
        "%Y-%m-%d %H:%M:%S",
        "%d.%m.%Y %H:%M:%S",
        "%d/%b/%Y:%H:%M:%S +0000",
        "%m/%d/%Y %I:%M:%S %p",
    ):
        text = "when,net\n" + "".join(f'"{stamp}",a\n' for stamp in days.strftime(pattern))
        expected = (days - days[0]).total_seconds().tolist()
        assert imported(tmp_path, text, columns=WHEN)[0] == expected


def test_a_window_says_what_clock_it_counts(tmp_path):
    text = "when,net\n1745390589,a\n1745390590,b\n1745390600,c\n"
    said = refusal(tmp_path, text, columns=WHEN, start_s=0, end_s=60)
    assert (
        "--window counts the source's own seconds, which begin at 1745390589 (2025-04-23 06:43:09 UTC)"
        in said
    )
    assert said.endswith("and the source runs from 1745390589 to 1745390600")
    times, models, report = imported(tmp_path, text, columns=WHEN, start_s=1745390590, end_s=1745390600)
    assert (times, models) == ([0.0], ["b"])
    assert report.notes[-1].startswith("--window counts the source's own seconds")
    text = "when,net\n2026-11-02 08:00:00,a\n2026-11-02 08:00:05,b\n"
    report = imported(tmp_path, text, columns=WHEN, end_s=3)[2]
    assert report.notes[-1] == "--window counts seconds from the first row on, 2026-11-02 08:00:00"


def test_times_of_the_end_less_durations(tmp_path):
    text = "when,net,took\n10.0,a,1.5\n11.0,b,2500ms\n12.0,c,1m2s\n"
    columns = WHEN | {"duration": "took"}
    assert imported(tmp_path, text, columns=columns)[:2] == ([0.0, 58.5, 58.5], ["c", "a", "b"])
    text = text.replace("took", "took_ms").replace("2500ms", "2500").replace("1m2s", "x")
    said = refusal(tmp_path, text, columns=WHEN | {"duration": "took_ms"})
    assert said.startswith("line 4 column took_ms: found 'x', expected a duration")


# -- conditions, counts, names -----------------------------------------------------------------------


def test_only_rows_that_are_wanted(tmp_path):
    text = "when,net,metric,ok\n1,a,http_reqs,t\n1,a,vus,t\nx,,vus,t\n2,b,http_reqs,f\n3,c,http_reqs,t\n"
    times, models, report = imported(tmp_path, text, columns=WHEN, where=("metric=http_reqs",))
    assert (times, models) == ([0.0, 1.0, 2.0], ["a", "b", "c"])
    assert report.dropped == {"not where metric=http_reqs": 2}
    where = ("metric=http_reqs", "ok!=f")
    assert imported(tmp_path, text, columns=WHEN, where=where)[1] == ["a", "c"]
    where = ("metric=http_reqs", "ok=t", "ok=f")  # of two values one
    assert imported(tmp_path, text, columns=WHEN, where=where)[1] == ["a", "b", "c"]
    said = refusal(tmp_path, text, columns=WHEN, where=("metric=http_req",))
    assert "(5 not where metric=http_req)" in said
    assert "metric is 'http_reqs', 'vus'" in said
    assert "did you mean 'metric'" in refusal(tmp_path, text, columns=WHEN, where=("metrik=x",))
    with pytest.raises(InputError, match="COLUMN=VALUE"):
        ImportOptions(where=("metric",))


def test_counts_are_spread_within_their_interval(tmp_path):
    text = "when,net,n\n2026-11-02 08:00:00,a,3\n2026-11-02 08:00:00,b,\n2026-11-02 08:01:00,a,5.0\n"
    columns = WHEN | {"count": "n"}
    times, models, report = imported(tmp_path, text, columns=columns, seed=3)
    assert models == ["a"] * 8
    assert times == imported(tmp_path, text, columns=columns, seed=3)[0]
    assert times != imported(tmp_path, text, columns=columns, seed=4)[0]
    assert max(times) < 120
    assert "counts spread at random over the 60 s from their time on (seed 3)" in report.notes
    assert max(imported(tmp_path, text, columns=columns, interval_s=1)[0]) == pytest.approx(60, abs=1)
    one = "when,net,n\n1,a,3\n"
    assert "--interval 60s" in refusal(tmp_path, one, columns=columns)
    assert refusal(tmp_path, "when,net,n\n1,a,3\n2,a,1.5\n", columns=columns).startswith("line 3 column n")


def test_names_are_trimmed_and_what_looks_wrong_is_said(tmp_path):
    text = "when,net\n0,llama\n1,llama \n2, llama\n3,LLAMA\n4,nan\n5,7\n6,7.0\n7, \n"
    said = refusal(tmp_path, text, columns=WHEN)
    assert said.startswith("line 9 column net: found ' ', expected the name of a model")
    _, models, report = imported(tmp_path, text, columns=WHEN, skip_bad_rows=1)
    assert models == ["llama", "llama", "llama", "LLAMA", "nan", "7", "7.0"]
    assert "2 cells with blanks round a name: taken off" in report.notes
    assert any(note.startswith("models called 'nan'") for note in report.notes)
    assert any("llama and LLAMA; 7 and 7.0" in note for note in report.notes)


def test_names_that_another_format_would_change(tmp_path):
    names = ["no", "null", "1e5", "007", "~", "#x", "*x", "a: b", "2026-01-01", "it's", 'q"q', "模", "-"]
    frame = pd.DataFrame({"when": range(len(names)), "net": names})
    assert imported(tmp_path, frame.to_csv(index=False), columns=WHEN)[1] == names


def test_items_of_nought_are_told_how_to_leave_out(tmp_path):
    text = "when,net,n\n1,a,2\n2,b,0\n"
    columns = WHEN | {"items": "n"}
    assert "--where n!=0 leaves those out" in refusal(tmp_path, text, columns=columns)
    assert imported(tmp_path, text, columns=columns, where=("n!=0",))[1] == ["a"]


def test_decimal_commas(tmp_path):
    text = "when;net\n0,5;a\n1,5;b\n"
    assert "or --decimal ," in refusal(tmp_path, text, columns=WHEN)
    assert imported(tmp_path, text, columns=WHEN, decimal=",")[0] == [0.0, 1.0]


# -- JSON, Parquet, logs -----------------------------------------------------------------------------

CALLS = [
    {"meta": {"at_ns": 1759522419154829652}, "tags": {"gen.model": "a"}},
    {"meta": {"at_ns": 1759522419654829652}, "tags": {"gen.model": "b"}},
]


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(map(json.dumps, CALLS)),
        "\ufeff" + "\r\n".join(map(json.dumps, CALLS)),
        json.dumps(CALLS),
        json.dumps(CALLS, indent=2),
        "\n".join(json.dumps(call, indent=2) for call in CALLS),
    ],
    ids=["lines", "lines with a mark", "list", "list of lines", "objects in a row"],
)
def test_json_by_paths(tmp_path, text):
    columns = {"time": "meta.at_ns", "model": "tags.gen.model"}
    assert imported(tmp_path, text, columns=columns)[:2] == ([0.0, 0.5], ["a", "b"])
    assert "--columns time=meta.at_ns" in refusal(tmp_path, text)


def test_json_with_rows_in_lists(tmp_path):
    host = {"host": "h", "calls": [{"at": 1, "m": "a"}, {"at": 2, "m": "b"}]}
    columns = {"time": "calls.at", "model": "calls.m", "requester": "host"}
    for text in (json.dumps(host), json.dumps([host]), json.dumps(host, indent=1)):
        assert imported(tmp_path, text, columns=columns)[:2] == ([0.0, 1.0], ["a", "b"])
    nested = json.dumps({"data": {"rows": [["a", 1], ["b", 3]]}})
    columns = {"time": "data.rows.2", "model": "data.rows.1"}
    assert imported(tmp_path, nested, columns=columns)[:2] == ([0.0, 2.0], ["a", "b"])


def test_json_that_is_none(tmp_path):
    lines = '{"when": 1, "net": "a"}\n{"when": 2,\n{"when": 3, "net": "c"}\n'
    assert refusal(tmp_path, lines, columns=WHEN).startswith(
        "line 2: found '{\"when\": 2,', expected a JSON object"
    )
    assert imported(tmp_path, lines, columns=WHEN, skip_bad_rows=1)[0] == [0.0, 2.0]
    assert refusal(tmp_path, '[{"when": 1,\n "net": }]', columns=WHEN).startswith("line 2: found no JSON (")
    mixed = '{"when": "1.5", "net": "a"}\n{"when": 2, "net": 7}\n{"when": 3.5, "net": null}\n'
    assert imported(tmp_path, mixed, columns=WHEN, skip_bad_rows=1)[:2] == ([0.0, 0.5], ["a", "7"])


@pytest.mark.parametrize(
    "times",
    [
        pa.array([1_700_000_000, 1_700_000_002], pa.int64()),
        pa.array([1_700_000_000.0, 1_700_000_002.0]),
        pa.array([1_700_000_000_000, 1_700_000_002_000], pa.timestamp("ms")),
        pa.array([1_700_000_000, 1_700_000_002], pa.timestamp("s", "UTC")),
        pa.array([1_700_000_000, 1_700_000_002]).cast(pa.decimal128(20, 0)),
        pa.array(["2026-11-02 08:00:00", "2026-11-02 08:00:02"]),
    ],
    ids=lambda array: str(array.type),
)
def test_parquet_with_columns_of_ones_own(tmp_path, times):
    names = pa.array(["a", "b"]).dictionary_encode()
    inner = pa.StructArray.from_arrays([names], ["net"])
    pq.write_table(pa.table({"when": times, "net": names, "tags": inner}), tmp_path / "calls.parquet")
    for model in ("net", "tags.net"):
        options = ImportOptions(columns={"time": "when", "model": model})
        trace, _ = make_importer("csv")(tmp_path / "calls.parquet", options)
        assert (trace.times_s.tolist(), trace.model_names) == ([0.0, 2.0], ["a", "b"])


LOG = """starting up
2026-11-02 08:00:00,120 INFO request model=detect took 3 ms
2026-11-02 08:00:00,200 INFO idle
2026-11-02 08:00:01,120 INFO request model=read took 5 ms
"""


def test_text_logs_by_a_pattern(tmp_path):
    pattern = r"^(?P<time>\S+ \S+) .*model=(?P<model>\S+)"
    times, models, report = imported(tmp_path, LOG, regex=pattern)
    assert (times, models) == ([0.0, 1.0], ["detect", "read"])
    assert report.dropped == {"not of the pattern": 2}
    said = refusal(tmp_path, LOG)
    guessed = re.search("--regex '(.*)'$", said)[1]
    assert imported(tmp_path, LOG, regex=guessed)[:2] == ([0.0, 1.0], ["detect", "read"])
    assert "no line that it finds; the first is 'starting up'" in refusal(
        tmp_path, LOG, regex="(?P<time>zzz)(?P<model>)"
    )
    assert "a group (?P<model>...)" in refusal(tmp_path, LOG, regex=r"^(?P<time>\S+ \S+)")
    for wrong, message in (("(", "a regular expression"), ("abc", "named groups")):
        with pytest.raises(InputError, match=message):
            ImportOptions(regex=wrong)
    gin = '[GIN] 2026/11/20 - 14:03:22 | 200 | 1.52s | 10.0.0.7 | POST "/api/chat"\n'
    options = {"regex": r"(?P<time>\d+/\d+/\d+ - \S+) .* (?P<duration>[\d.]+m?s) ", "model_name": "m"}
    assert imported(tmp_path, gin, **options)[1] == ["m"]


def test_a_log_without_times_is_said_to_be_one(tmp_path):
    text = '[INFO] Request 10.0.0.1 "POST /v1/chat HTTP/1.1" 200 58 "curl" 19.12ms\n[INFO] <m1> loaded\n'
    said = refusal(tmp_path, text)
    assert said.startswith("found lines of text without a time, such as '[INFO] Request")
    assert "/api/metrics/activity" in said


def test_the_layout_that_is_found():
    """The examples of the module, on a file that is there anyway."""
    layout = find_layout("traces/live_workload.csv", ImportOptions())
    assert (layout.kind, layout.delimiter, layout.has_header, layout.first_line) == ("table", ",", True, 1)
    assert layout.columns[:2] == ("time_s", "model")
