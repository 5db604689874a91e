"""A question survives the way through a URL; what is no question is named."""

from __future__ import annotations

from urllib.parse import parse_qs, parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.params import ParameterError, from_params, parse_time_ms, time_text, to_params
from store.protocol import Select

_TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
_MANY = st.lists(_TEXT, max_size=3).map(tuple)
_TIME = st.none() | st.integers(-(2**63) + 1, 2**63 - 1)
SELECTS = st.builds(
    Select,
    measurement=_TEXT,
    fields=_MANY,
    keys=_MANY,
    units=_MANY,
    regions=_MANY,
    device_class=_TEXT | st.just(""),
    key_prefix=_TEXT | st.just(""),
    from_ms=_TIME,
    to_ms=_TIME,
    latest=st.booleans(),
    withdrawn=st.booleans(),
    newest_first=st.booleans(),
    narrow=st.booleans(),
    extremes=st.booleans(),
    limit=st.none() | st.integers(0, 10**8),
)


@given(SELECTS)
def test_a_question_survives_the_way_through_a_url(query):
    url = urlencode(to_params(query))
    assert from_params(parse_qsl(url, keep_blank_values=True)) == query
    assert from_params(parse_qs(url, keep_blank_values=True)) == query


@given(st.integers(1, 10**12), st.sampled_from(["mean", "min", "max", "sum", "last"]))
def test_a_step_survives_too(every_ms, aggregate):
    query = Select("reading", every_ms=every_ms, aggregate=aggregate)
    assert from_params(to_params(query)) == query


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ({}, "measurement: expected the name of a measurement, got none"),
        ({"from": "yesterday"}, "from: expected a time in ISO 8601 or ms UTC, got 'yesterday'"),
        ({"to": "9" * 30}, "to: expected a time in ISO 8601 or ms UTC, got '99"),
        ({"limit": "-1"}, "limit: expected a whole number of 0 to 100000000, got '-1'"),
        ({"limit": "٣"}, "limit: expected a whole number of 0"),
        ({"every_ms": "0"}, "every_ms: expected a whole number of 1"),
        ({"aggregate": "median"}, "aggregate: expected one of mean, min, max, sum, last, got 'median'"),
        ({"latest": "perhaps"}, "latest: expected 1 or 0, got 'perhaps'"),
        ({"limit": ["1", "2"]}, "limit: expected one value, got 2"),
        ({"order": "1"}, "order: expected one of measurement, field, key"),
    ],
)
def test_what_is_no_question_is_named(pairs, said):
    base = {"measurement": "reading"} if pairs else {}
    with pytest.raises(ParameterError) as caught:
        from_params(base | pairs)
    assert str(caught.value).startswith(said)


def test_format_is_the_callers_business():
    assert from_params({"measurement": "reading", "format": "arrow"}) == Select("reading")


@pytest.mark.parametrize(
    "text", ["2026-01-01", "2026-01-01T00:00Z", "2026-01-01T08:00:00+08:00", "1767225600000"]
)
def test_times_are_iso_or_ms(text):
    assert parse_time_ms(text) == 1_767_225_600_000


def test_times_before_1970_and_beyond_the_calendar():
    assert parse_time_ms("1969-12-31T23:59:59.999Z") == -1
    assert time_text(-1) == "1969-12-31T23:59:59.999Z"
    assert time_text(2**62) == str(2**62)


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_a_time_reads_back_as_it_was_written(time_ms):
    assert parse_time_ms(time_text(time_ms)) == time_ms
