"""Times as logs write them: read in every usual shape, and asked about where they may be two."""

import re

import numpy as np
import pandas as pd
import pytest

from tests.traces.importing import WHEN, imported, refusal
from vramlab.config.errors import InputError
from vramlab.traces.importers import ImportOptions

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


@pytest.mark.parametrize(
    "cell",
    ["11/2/2026", "11/2/2026 8:00", "11/2/2026, 8:00:00 AM", "02-11-2026 08:00:00.5 +0100", "11/2/26 8:00 AM",
     "2026-11-02 08:00:00 CET", "Mon Nov 02 08:00:00 CET 2026"],
)  # fmt: skip
def test_the_formats_that_are_offered_read_the_file(tmp_path, cell):
    text = f'when,net\n"{cell}",a\n"{cell}",b\n'
    offered = re.findall(r"'(%[^']*)'", refusal(tmp_path, text, columns=WHEN))
    assert len(offered) == (1 if "CET" in cell else 3 if "/26" in cell else 2)
    for time_format in offered:
        assert imported(tmp_path, text, columns=WHEN, time_format=time_format)[0] == [0.0, 0.0]


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
