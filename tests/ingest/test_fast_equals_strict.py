"""The fast path takes nothing that the strict one refuses, and reads the same from what both take."""

import json
import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import decode as decode_module
from ingest import fast, strict
from ingest.messages import Message
from models.frame import FrameKind
from tests.support.payloads import acks, decode, rows_of, topic

GOOD = b'{"boot":1,"seq":1,"samples":[{"t":1,"supply_c":92.5}]}'
SAMPLE = b'{"boot":1,"seq":1,"samples":[{"t":1,%s}]}'
EVIL = [
    b"",
    b"{}",
    b"{",
    b"}",
    b"[]",
    b"null",
    b"1",
    b'"x"',
    b"{}}",
    b"\x00",
    b"\xff\xfe{}",
    b"\xef\xbb\xbf" + GOOD,
    GOOD + GOOD,
    GOOD + b" " + GOOD,
    GOOD + b"\n" + GOOD,
    GOOD + b"x",
    GOOD + b"\x00",
    GOOD + b"\x00}",
    b" " + GOOD,
    GOOD + b" ",
    GOOD[:-1],
    GOOD[:-2],
    GOOD[:-3] + b"}",
    GOOD.replace(b",", b",\n"),
    GOOD.replace(b",", b"\r,"),
    b'{"boot":1,"boot":2,"seq":1,"samples":[{"t":1}]}',
    b'{"boot":1,"seq":1,"samples":[{"t":1,"t":2}]}',
    b'{"seq":1,"samples":[{"t":1}]}',
    b'{"boot":1,"samples":[{"t":1}]}',
    b'{"boot":1,"seq":1}',
    b'{"boot":1,"seq":1,"samples":[]}',
    b'{"boot":1,"seq":1,"samples":{}}',
    b'{"boot":1,"seq":1,"samples":[1]}',
    b'{"boot":1,"seq":1,"samples":[[]]}',
    b'{"boot":1,"seq":1,"samples":[{}]}',
    b'{"boot":1,"seq":1,"samples":[null]}',
    b'{"boot":1,"seq":1,"samples":null}',
    b'{"boot":null,"seq":1,"samples":[{"t":1}]}',
    b'{"boot":1.0,"seq":1,"samples":[{"t":1}]}',
    b'{"boot":"1","seq":1,"samples":[{"t":1}]}',
    b'{"boot":1e3,"seq":1,"samples":[{"t":1}]}',
    b'{"boot":-1,"seq":1,"samples":[{"t":1}]}',
    b'{"boot":0,"seq":1,"samples":[{"t":1}]}',
    b'{"boot":01,"seq":1,"samples":[{"t":1}]}',
    b'{"boot":9223372036854775807,"seq":1,"samples":[{"t":1}]}',
    b'{"boot":9223372036854775808,"seq":1,"samples":[{"t":1}]}',
    b'{"boot":1,"seq":1,"samples":[{"t":-9223372036854775808}]}',
    b'{"boot":1,"seq":1,"samples":[{"t":-9223372036854775807}]}',
    b'{"boot":1,"seq":1,"samples":[{"t":1.5}]}',
    b'{"boot":1,"seq":1,"samples":[{"t":true}]}',
    b'{"boot":1,"seq":1,"more":1,"samples":[{"t":1}]}',
    b'{"boot":1,"seq":1,"samples":[{"t":1}],}',
    b'{"boot":1,"seq":1,"samples":[{"t":1},]}',
    b'{"boot":1,"seq":1,"samples":[{"t":1}]}/*{}*/',
    b"{'boot':1,'seq':1,'samples':[{'t':1}]}",
    b'{"boot":1,"seq":1,"samples":[{"\\u0074":1,"supply\\u005fc":2}]}',
    b'{"boot":1,"seq":1,"samples":[' + b",".join([b'{"t":1}'] * 1000) + b"]}",
    b'{"boot":1,"seq":1,"samples":[' + b",".join([b'{"t":1}'] * 1001) + b"]}",
    b'{"boot":1,"seq":1,"samples":[{"t":1},{"t":2,"flow_m3_h":1},{"t":3}]}',
    *(
        SAMPLE % (b'"supply_c":' + value)
        for value in (
            b"NaN",
            b"Infinity",
            b"-Infinity",
            b"nan",
            b"1e999",
            b"-1e999",
            b"1e-999",
            b"1e308",
            b"null",
            b"true",
            b'"1"',
            b"{}",
            b"[]",
            b"[1]",
            b"+1",
            b"1.",
            b".5",
            b"01",
            b"-",
            b"0x1",
            b"-0",
            b"-0.0",
            b"1E5",
            b"1e+5",
            b"9007199254740993",
            b"1" + b"0" * 400,
            b"1" * 5000,
            b"0." + b"3" * 5000,
            b"5e-324",
            b"1.7976931348623157e308",
            b"1.7976931348623159e308",
            b"0.1",
            b"123456789.123456789123456789",
            b"18446744073709551616",
        )
    ),
    SAMPLE % b'"supply_c":1,"supply_c":2',
    SAMPLE % b'"unknown":1',
    SAMPLE % b'"lat_deg":1',
    SAMPLE % b'"":1',
    SAMPLE % b'"device":1',
    SAMPLE % b'"extra":1',
    SAMPLE % b'"__pydantic_extra__":1',
    SAMPLE % b'"model_config":1',
    SAMPLE % b'"a":"\\ud800"',
    SAMPLE % b'"a":"\xff"',
    SAMPLE % b'"a":"null"',
    SAMPLE % b'"\xff":1',
    SAMPLE % b'"a\tb":1',
    SAMPLE % (b'"supply_c":' + b"[" * 100_000 + b"]" * 100_000),
    b'{"x":' * 40_000 + b"1" + b"}" * 40_000,
    b'{"boot":1,"seq":1,"samples":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b"[" * 200_000,
    b"{" * 200_000,
    SAMPLE % b",".join(b'"k%d":null' % i for i in range(15_000)),
    SAMPLE % b",".join(b'"k%d":1' % i for i in range(15_000)),
    b'{"boot":' + b"1" * 200_000 + b',"seq":1,"samples":[{"t":1}]}',
]


def columns_of(block):
    names = sorted(block.columns)
    return (
        block.index.tolist(),
        block.boot.tolist(),
        block.seq.tolist(),
        block.counts.tolist(),
        block.t.tolist(),
        [
            {n: block.columns[n][i].as_py() for n in names if block.columns[n][i].is_valid}
            for i in range(len(block.t))
        ],
    )


def both(payloads):
    index = np.arange(len(payloads))
    quick = fast.parse("substation", index, pa.array(payloads, pa.binary()))
    slow, refused = strict.parse("substation", index.tolist(), payloads)
    return quick, slow, refused


def assert_no_more_lenient(payloads):
    quick, slow, refused = both(payloads)
    if quick is None:
        return
    assert not refused
    assert columns_of(quick) == columns_of(slow)


@pytest.mark.parametrize("evil", EVIL, ids=lambda p: repr(p[:48]))
def test_evil_payloads(evil):
    for payloads in ([evil], [evil, GOOD], [GOOD, evil]):
        took_s = []
        while len(took_s) < 3 and (
            not took_s or took_s[-1] >= 1
        ):  # once it may meet a collection of all garbage
            began = time.process_time()  # on a crowded machine the wall says little
            assert_no_more_lenient(payloads)
            took_s.append(time.process_time() - began)
        assert took_s[-1] < 1


def test_good_payloads_take_the_fast_path():
    quick, slow, refused = both([GOOD] * 100)
    assert quick is not None
    assert not refused
    assert columns_of(quick) == columns_of(slow)


numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**70), 2**70), st.integers(-1000, 1000)
)
odd = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=5),
    st.floats(),
    st.just([]),
    st.just({"t": 1}),
    numbers,
    st.integers(),
)
names = st.sampled_from(["supply_c", "return_c", "flow_m3_h", "energy_gj", "pump_hz"])
good_samples = st.fixed_dictionaries({"t": st.integers(-(2**62), 2**62)}, optional={}).flatmap(
    lambda base: st.dictionaries(names, numbers, max_size=5).map(lambda values: {**base, **values})
)
good_messages = st.builds(
    lambda boot, seq, samples: {"boot": boot, "seq": seq, "samples": samples},
    st.integers(1, 2**63 - 1), st.integers(1, 2**63 - 1), st.lists(good_samples, min_size=1, max_size=4),
)  # fmt: skip
odd_samples = st.dictionaries(st.one_of(names, st.sampled_from(["t", "x", "lat_deg"])), odd, max_size=4)
odd_messages = st.dictionaries(
    st.sampled_from(["boot", "seq", "samples", "z"]),
    st.one_of(odd, st.lists(odd_samples, max_size=3)),
    max_size=4,
)


@st.composite
def payload_bytes(draw):
    message = draw(st.one_of(good_messages, good_messages, odd_messages))
    text = json.dumps(message, separators=draw(st.sampled_from([(",", ":"), (", ", ": ")]))).encode()
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):  # a mutation: cut, doubled, or a byte changed
        at = draw(st.integers(0, len(text)))
        what = draw(
            st.sampled_from([b"", b"}", b"{", b",", b"\n", b"\x00", b"null", b'"', b"0", b"-", b"e", b"\xff"])
        )
        text = text[:at] + what + text[at + draw(st.integers(0, 2)) :]
    return text


@settings(max_examples=200, deadline=None)
@given(st.lists(payload_bytes(), min_size=1, max_size=4))
def test_generated_payloads(payloads):
    assert_no_more_lenient(payloads)


@settings(max_examples=60, deadline=None)
@given(st.lists(payload_bytes(), min_size=1, max_size=60))
def test_a_decoder_with_the_fast_path_equals_one_without(payloads):
    messages = [Message(topic("sub-1"), payload) for payload in payloads]
    now = {"u1": 2**62}
    quick = decode(messages, now, wall_ms=2**62)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode_module.fast, "parse", lambda *_: None)
        slow = decode(messages, now, wall_ms=2**62)
    for kind in (FrameKind.TELEMETRY, FrameKind.REFUSAL):
        assert rows_of(quick, kind) == rows_of(slow, kind)
    assert acks(quick) == acks(slow)
