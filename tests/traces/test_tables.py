"""Tables and packed files as people have them: each kind comes in right, or is refused with what to do."""

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile

import pyarrow as pa
import pytest

from tests.traces.importing import WHEN, imported, refusal, written
from vramlab.config.errors import InputError
from vramlab.traces.importers import ImportOptions, make_importer

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
    text = '# made by x\nwhen,net,note\n\n1,a,"b\nb"\n\n\nsoon,c,\n'
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


def test_a_quote_that_is_not_closed_is_no_name(tmp_path):
    text = 'when,net\n1,"a\n2,b\n3,c\n'
    said = refusal(tmp_path, text, columns=WHEN)
    assert said.startswith("line 2 column net: found 'a\\n2,b\\n3,c\\n', expected a name on one line")


def test_a_missing_column_is_told_with_the_likely_command(tmp_path):
    text = "id,called_at,endpoint,note\n7,2026-11-02 08:00:00,a,x\n8,2026-11-02 08:00:01,b,y\n"
    assert refusal(tmp_path, text) == (
        "column time_s: found only id, called_at, endpoint, note, expected that column, "
        "or --columns time=called_at,model=endpoint"
    )
    foreign = "Zeit;Modell;Dauer\n02.11.2026 08:00:00;a;0,5\n02.11.2026 08:00:01;b;0,5\n"
    assert refusal(tmp_path, foreign).endswith("--columns time=Zeit,model=Modell")
    spaced = text.replace("called_at", "called at")
    assert "--columns 'time=called at,model=endpoint'" in refusal(tmp_path, spaced)


def test_files_that_are_no_table_say_what_they_are(tmp_path):
    assert "no database that can be read" in refusal(tmp_path, b"SQLite format 3\0" + bytes(100))
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


def test_comments_between_rows_are_left_out(tmp_path):
    text = "when,net\n# restarted\n1,a\n# a, b\n2,#b\nx,c\n"
    said = refusal(tmp_path, text, columns=WHEN)
    assert said.startswith("line 6 column when: found 'x'")
    times, models, report = imported(tmp_path, text, columns=WHEN, skip_bad_rows=1)
    assert (times, models) == ([0.0, 1.0], ["a", "#b"])
    assert report.dropped == {"comment": 2, "malformed": 1}
