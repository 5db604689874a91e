"""Twenty and more named classes of bad input, as Hypothesis strategies, each with what has to become of it.

A case carries the outcomes that are right for it: `stored`, the reason of a dead letter,
or `ignored`. Where a class allows several, the docstring says what decides.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import zstandard
from hypothesis import strategies as st

from ingest.messages import Message
from models.measurements import of_class
from models.wire import MAX_PAYLOAD_BYTES
from tests.support.payloads import BOOT, NOW, topic

__all__ = ["ANY", "CLASSES", "IGNORED", "SEQ", "STORED", "Bad"]

STORED: Final = "stored"
IGNORED: Final = "ignored"
BOOT_DIGITS: Final = str(BOOT).encode()
"""Stands in payloads for the boot, so that a run gives each batch one of its own."""
DAY_MS: Final = 86_400_000
FUTURE_MS: Final = 600_000
RETENTION_MS: Final = 30 * DAY_MS
DEVICE: Final = "sub-1"
DEEP: Final = 100_000
SEQ: Final = 7_654_321
"""Stands in payloads for a case's own number."""
SEQ_DIGITS: Final = str(SEQ).encode()
LONG: Final = 100_000
Strategy = st.SearchStrategy["Bad"]


@dataclass(frozen=True)
class Bad:
    """One message, and what is right to become of it.

    Attributes
    ----------
    kind : str
        Name of its class.
    topic : str
    payload : bytes
    right : frozenset of str
        Outcomes that are right, any one of them.
    seq : int or None
        The number that a refusal has to be counted under: `SEQ` for its own, `ANY` where the
        reader may choose to read none, None where none can be read.
    retained : bool
    """

    kind: str
    topic: str
    payload: bytes
    right: frozenset[str]
    seq: int | None
    retained: bool = False

    def message(self, boot: int, number: int) -> Message:
        """As the broker gives it, with a boot and a number (of seven digits) of its own."""
        payload = self.payload.replace(BOOT_DIGITS, b"%d" % boot).replace(SEQ_DIGITS, b"%d" % number)
        return Message(self.topic, payload, self.retained, NOW)

    def __repr__(self) -> str:
        shown = (
            self.payload if len(self.payload) <= 300 else self.payload[:200] + b" ... " + self.payload[-80:]
        )
        return (
            f"Bad({self.kind}, {self.topic!r}, {len(self.payload)} bytes {shown!r}, right {set(self.right)}, "
            f"seq {self.seq}{', retained' if self.retained else ''})"
        )


def _bad(
    kind: str,
    payload: bytes,
    *right: str,
    seq: int | None,
    to: str | None = None,
    retained: bool = False,
) -> Bad:
    return Bad(kind, topic(DEVICE) if to is None else to, payload, frozenset(right), seq, retained)


MEASURED: Final = tuple(m.name for m in of_class("substation"))
values = st.floats(-1e6, 1e6, allow_nan=False).map(lambda v: round(v, 3))
measured = st.dictionaries(st.sampled_from(MEASURED), values, min_size=1, max_size=4)
samples = st.lists(
    st.builds(lambda t, m: {"t": t, **m}, st.integers(NOW - DAY_MS, NOW), measured), min_size=1, max_size=4
)


def telemetry_of() -> st.SearchStrategy[dict[str, Any]]:
    """A telemetry message that is all right."""
    return samples.map(lambda rows: {"boot": BOOT, "seq": SEQ, "samples": rows})


def _text(value: Any) -> bytes:
    return json.dumps(value).encode()


# -- bytes that are no JSON ---------------------------------------------------------------------


def not_utf8() -> Strategy:
    """Bytes that are no UTF-8, alone or within a message."""
    broken = st.sampled_from(
        [b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xc0\xaf", b"\x80"]
    )
    inside = st.builds(
        lambda m, b, place: _text(m).replace(b'"' if place else b"_", b'"' + b if place else b + b"_", 1),
        telemetry_of(), broken, st.booleans(),
    )  # fmt: skip
    alone = st.builds(lambda a, b: a + b, st.binary(max_size=64), broken)
    return st.one_of(inside, alone.filter(_not_text)).map(lambda p: _bad("not_utf8", p, "not_json", seq=None))


def _not_text(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return True
    return False


def truncated() -> Strategy:
    """A message cut anywhere."""
    return st.builds(
        lambda m, share: _bad("truncated", _text(m)[: int(share * (len(_text(m)) - 1))], "not_json", seq=None),
        telemetry_of(), st.floats(0, 1, exclude_max=True),
    )  # fmt: skip


def deep() -> Strategy:
    """Nesting to a depth of 100,000, open or closed, bare or where a value belongs."""

    def build(depth: int, opening: bytes, closing: bytes, closed: bool, within: bytes) -> Bad:
        core = opening * depth + (b"1" + closing * depth if closed else b"")
        return _bad("deep", within.replace(b"@", core), "not_json", "too_large", seq=None)

    within = [b"@", b'{"boot":%d,"seq":%d,"samples":@}' % (BOOT, SEQ),
              b'{"boot":%d,"seq":%d,"samples":[{"t":%d,"supply_c":@}]}' % (BOOT, SEQ, NOW)]  # fmt: skip
    return st.one_of(
        st.builds(build, st.integers(300, DEEP), st.just(b"["), st.just(b"]"), st.booleans(), st.sampled_from(within)),
        st.builds(build, st.integers(300, DEEP // 3), st.just(b'{"a":'), st.just(b"}"), st.booleans(),
                  st.sampled_from(within)),
    ).map(_sized)  # fmt: skip


def _sized(bad: Bad) -> Bad:
    """Expect `too_large` above the limit, with its number where boot and seq stand first."""
    if len(bad.payload) <= MAX_PAYLOAD_BYTES:
        return Bad(bad.kind, bad.topic, bad.payload, bad.right - {"too_large"}, bad.seq, bad.retained)
    first = bad.payload.startswith((b'{"boot":', b'{"boot": '))
    return Bad(
        bad.kind, bad.topic, bad.payload, frozenset({"too_large"}), SEQ if first else None, bad.retained
    )


def bombs() -> Strategy:
    """Compressed data that would be up to 64 MB: nothing is ever unpacked."""
    formats = st.sampled_from(["gzip", "zlib", "bz2", "xz", "zstd"])
    return st.builds(
        lambda name, mb, tail: _sized(_bad("bombs", _bomb(name, mb) + tail, "not_json", "too_large", seq=None)),
        formats, st.sampled_from([1, 16, 64]), st.binary(max_size=8),
    )  # fmt: skip


@cache
def _bomb(name: str, megabytes: int) -> bytes:
    data = b" " * (megabytes << 20)
    pack: dict[str, Callable[[bytes], bytes]] = {
        "gzip": lambda d: gzip.compress(d, 1, mtime=0), "zlib": lambda d: zlib.compress(d, 1),
        "bz2": bz2.compress, "xz": lambda d: lzma.compress(d, preset=0), "zstd": zstandard.ZstdCompressor().compress,
    }  # fmt: skip
    return pack[name](data)


def noise() -> Strategy:
    """Any bytes, and near misses of JSON: comments, single quotes, commas too many, two objects, nothing."""
    odd = st.sampled_from([
        b"", b" ", b"\xef\xbb\xbf{}", b"{'boot':1}", b'{"boot":1,}', b"{}{}", b"{} x", b"tru", b"nul", b"-", b'"', b"\\",
        b'{"boot":01}', b'{"boot":+1}', b'{"boot":.5}', b'{"boot":0x10}', b"/* */{}", b"\x00", b"\x00{}", b"{}\x00",
    ])  # fmt: skip
    return (
        st.one_of(odd, st.builds(lambda a, b: a + b, st.binary(max_size=200), odd))
        .filter(_no_json)
        .map(lambda p: _bad("noise", p, "not_json", seq=None))
    )


def _no_json(payload: bytes) -> bool:
    try:
        json.loads(payload)
    except (ValueError, RecursionError):
        return True
    return False


# -- JSON that is no telemetry -------------------------------------------------------------------


def not_finite() -> Strategy:
    """NaN and infinities, spelled out or as a number too large for any float."""
    spelled = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" + "0" * 400]
    return st.builds(
        lambda m, name, value: _bad(
            "not_finite",
            _text({**m, "samples": [*m["samples"], {"t": NOW, name: "@"}]}).replace(b'"@"', value.encode()),
            "schema",
            seq=SEQ,
        ),
        telemetry_of(), st.sampled_from([*MEASURED, "unknown_kw"]), st.sampled_from(spelled),
    )  # fmt: skip


def long_integers() -> Strategy:
    """Integers of up to 100,000 digits; from 4,301 on the JSON itself counts as unreadable."""

    def build(place: str, digits: int, sign: str, digit: str) -> Bad:
        number = sign + digit * digits
        names = {"boot": str(BOOT), "seq": str(SEQ), "t": str(NOW), "value": "1.5"} | {place: number}
        payload = (
            f'{{"boot":{names["boot"]},"seq":{names["seq"]},'
            f'"samples":[{{"t":{names["t"]},"supply_c":{names["value"]}}}]}}'
        ).encode()
        right = ("schema",) if digits <= 4300 else ("schema", "not_json")
        return _bad("long_integers", payload, *right, seq=ANY if digits > 4300 else None if place in {"boot", "seq"} else SEQ)  # fmt: skip

    return st.builds(
        build,
        st.sampled_from(["boot", "seq", "t", "value"]),
        st.one_of(st.integers(400, 5000), st.integers(400, LONG), st.just(LONG)),
        st.sampled_from(["", "-"]),
        st.sampled_from("19"),
    )


ANY: Final = -1
"""For `Bad.seq`: whether its number can be read is the reader's choice."""

wrong = st.one_of(
    st.none(), st.booleans(), st.text(max_size=6), st.floats(allow_nan=False, allow_infinity=False).filter(lambda v: v != int(v) if abs(v) < 2**63 else True),
    st.just([]), st.just({}), st.just([1]), st.just({"t": 1}), st.just("1"),
)  # fmt: skip


def wrong_types() -> Strategy:
    """Every field with a value of another kind."""

    def build(m: dict[str, Any], place: str, value: Any) -> Bad:
        m = json.loads(json.dumps(m))
        readable: int | None = SEQ
        if place in {"boot", "seq"}:
            m[place] = value
            readable = None
        elif place == "samples":
            m["samples"] = {"t": NOW} if value == [] else value
        elif place == "sample":
            m["samples"][0] = value if value != {"t": 1} else []
        elif place == "t":
            m["samples"][0]["t"] = value
        else:
            m["samples"][0][MEASURED[0]] = 7 if isinstance(value, float) else value
            if isinstance(value, float):
                m["samples"][0][MEASURED[0]] = [value]
        return _bad("wrong_types", _text(m), "schema", seq=readable)

    return st.builds(
        build, telemetry_of(), st.sampled_from(["boot", "seq", "samples", "sample", "t", "value"]), wrong
    )


def nulls_and_booleans() -> Strategy:
    """A measurement that is null, true or false: absent is absent, and no truth is a number."""
    return st.builds(
        lambda m, name, value: _bad(
            "nulls_and_booleans", _text({**m, "samples": [{"t": NOW, name: value}, *m["samples"]]}), "schema", seq=SEQ
        ),
        telemetry_of(), st.sampled_from([*MEASURED, "unknown_kw", "lat_deg"]), st.sampled_from([None, True, False]),
    )  # fmt: skip


def lacking() -> Strategy:
    """Keys left out, an empty list of samples, or JSON that is no object."""

    def build(m: dict[str, Any], what: str) -> Bad:
        if what == "empty":
            return _bad("lacking", _text({**m, "samples": []}), "schema", seq=SEQ)
        if what == "t":
            return _bad("lacking", _text({**m, "samples": [{"supply_c": 1.5}]}), "schema", seq=SEQ)
        left = {k: v for k, v in m.items() if k != what}
        return _bad("lacking", _text(left), "schema", seq=SEQ if what == "samples" else None)

    scalars = st.sampled_from([b"{}", b"[]", b"null", b"true", b"0", b'"x"', b"[{}]", b"[[]]"])
    return st.one_of(
        st.builds(build, telemetry_of(), st.sampled_from(["boot", "seq", "samples", "empty", "t"])),
        scalars.map(lambda p: _bad("lacking", p, "schema", seq=None)),
    )


def too_many_samples() -> Strategy:
    """1,001 samples and more, below the limit of bytes."""
    return st.builds(
        lambda n, v: _bad(
            "too_many_samples",
            _text({"boot": BOOT, "seq": SEQ, "samples": [{"t": NOW - i, "supply_c": v} for i in range(n)]}),
            "schema",
            seq=SEQ,
        ),
        st.integers(1001, 3000), st.integers(0, 99),
    )  # fmt: skip


def huge() -> Strategy:
    """More than 256 KiB; the number is read only where it stands first."""

    def build(excess: int, order: str, filler: bytes) -> Bad:
        boot, number = b'"boot":%d' % BOOT, b'"seq": %d' % SEQ
        head = {
            "first": boot + b"," + number,
            "turned": number + b" , " + boot,
            "late": b'"x":1,' + boot + b"," + number,
        }
        start = b"{" + head[order] + b',"samples":[],"pad":"'
        payload = start + filler * ((MAX_PAYLOAD_BYTES + excess - len(start)) // len(filler) + 1) + b'"}'
        return _bad("huge", payload, "too_large", seq=None if order == "late" else SEQ)

    return st.builds(
        build, st.integers(1, 1 << 20), st.sampled_from(["first", "turned", "late"]), st.sampled_from([b"x", b" ", b"\xff", b"[1,"])
    )  # fmt: skip


def numbers_out_of_range() -> Strategy:
    """boot or seq of zero, below it, above 2^63 - 1 or no integer; t beyond int64."""

    def build(m: dict[str, Any], place: str, value: Any) -> Bad:
        if place == "t":
            m = {**m, "samples": [{**m["samples"][0], "t": value if value not in {0, -1} else 2**64}]}
            return _bad("numbers_out_of_range", _text(m), "schema", seq=SEQ)
        return _bad("numbers_out_of_range", _text({**m, place: value}), "schema", seq=None)

    beyond = st.one_of(
        st.sampled_from([0, -1, 2**63, 2**64, -(2**63) - 1, 1.5, 1e30]),
        st.integers(2**63, 2**70), st.integers(-(2**70), -(2**63) - 1),
    )  # fmt: skip
    return st.builds(build, telemetry_of(), st.sampled_from(["boot", "seq", "t"]), beyond)


def text_for_numbers() -> Strategy:
    """A number where text belongs and text where a number belongs, in a class that has both."""
    to = topic("bridge-1")
    return st.builds(
        lambda name, value, mass: _bad(
            "text_for_numbers",
            _text({"boot": BOOT, "seq": SEQ, "samples": [{"t": NOW, "mass_kg": mass, name: value}]}),
            "schema",
            seq=SEQ,
            to=to,
        ),
        st.sampled_from(["plate", "ticket", "step", "grade"]), values, values,
    ) | st.text(min_size=1, max_size=8).map(
        lambda text: _bad(
            "text_for_numbers",
            _text({"boot": BOOT, "seq": SEQ, "samples": [{"t": NOW, "mass_kg": text}]}),
            "schema",
            seq=SEQ,
            to=to,
        )
    )  # fmt: skip


# -- well-formed, and still not to be taken --------------------------------------------------------


def future() -> Strategy:
    """A sample more than ten minutes ahead, among others that are not."""
    return st.builds(
        lambda m, t, first: _bad(
            "future", _text({**m, "samples": [{"t": t}, *m["samples"]] if first else [*m["samples"], {"t": t}]}), "future", seq=SEQ
        ),
        telemetry_of(), st.integers(NOW + FUTURE_MS + 3_600_000, 2**63 - 1), st.booleans(),
    )  # fmt: skip


def too_old() -> Strategy:
    """A sample beyond the retention of readings, among others that are not."""
    return st.builds(
        lambda m, t: _bad("too_old", _text({**m, "samples": [*m["samples"], {"t": t}]}), "too_old", seq=SEQ),
        telemetry_of(), st.one_of(st.integers(-(2**63) + 1, NOW - RETENTION_MS - 1), st.just(0)),
    )  # fmt: skip


ids = st.text(st.sampled_from("abcXYZ019_.-"), min_size=1, max_size=64)


def unknown_device() -> Strategy:
    """A device that the registry does not have; anybody can send that, so no ledger counts it."""
    return st.builds(
        lambda m, device: _bad(
            "unknown_device", _text(m), "unknown_device", seq=SEQ, to=f"hearthline/v1/r1/u1/{device}x/telemetry"
        ),
        telemetry_of(), ids.filter(lambda i: len(i) < 64),
    )  # fmt: skip


def wrong_topic() -> Strategy:
    """Levels too few or too many, another prefix, ids that are none, or a kind that is none."""
    bad_id = st.one_of(
        st.sampled_from(
            ["", "a b", "+", "#", "换热站", "a" * 65, "a\u202eb", "a\n", "$SYS", "sub-1\u200b", "ｓub-1"]
        ),
        st.text(min_size=1, max_size=12).filter(lambda t: "/" not in t and not _is_id(t) and _sendable(t)),
    )
    lost = st.one_of(
        bad_id.map(lambda i: f"hearthline/v1/r1/u1/{i}/telemetry"),
        bad_id.map(lambda i: f"hearthline/v1/{i}/u1/sub-1/telemetry"),
        bad_id.map(lambda i: f"hearthline/v1/r1/{i}/sub-1/telemetry"),
        st.sampled_from([
            "hearthline/v1/r1/u1/sub-1", "hearthline/v1/r1/u1/sub-1/telemetry/x", "hearthline/v2/r1/u1/sub-1/telemetry",
            "Hearthline/v1/r1/u1/sub-1/telemetry", "/hearthline/v1/r1/u1/sub-1", "", "telemetry", "/////",
        ]),
    )  # fmt: skip
    kinds = st.sampled_from(["telemetri", "Telemetry", "", "acks", "state2", "telemetry "])
    return st.one_of(
        st.builds(lambda m, t: _bad("wrong_topic", _text(m), "unknown_device", seq=SEQ, to=t), telemetry_of(), lost),
        st.builds(lambda m, k: _bad("wrong_topic", _text(m), "schema", seq=SEQ, to=topic(DEVICE, k)), telemetry_of(), kinds),
    )  # fmt: skip


def _is_id(text: str) -> bool:
    return 1 <= len(text) <= 64 and all(c.isascii() and (c.isalnum() or c in "_.-") for c in text)


def _sendable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def topic_mismatch() -> Strategy:
    """A known device below a region or unit that is not its own."""
    places = st.tuples(st.sampled_from(["r1", "r2", "R1"]), st.sampled_from(["u1", "u2", "u3", "U1"]))
    return st.builds(
        lambda m, place: _bad(
            "topic_mismatch", _text(m), "topic_mismatch", seq=SEQ, to=topic(DEVICE, unit=place[1], region=place[0])
        ),
        telemetry_of(), places.filter(lambda p: p != ("r1", "u1")),
    )  # fmt: skip


def wrong_class() -> Strategy:
    """Measurements of another class alone, beside what nobody knows."""
    others = st.dictionaries(
        st.sampled_from(["lat_deg", "lon_deg", "speed_m_s", "stock_t", "mass_kg"]), values, min_size=1
    )
    return st.builds(
        lambda rows, odd: _bad(
            "wrong_class",
            _text({"boot": BOOT, "seq": SEQ, "samples": [{"t": NOW, **row, **odd} for row in rows]}),
            "wrong_class",
            seq=SEQ,
        ),
        st.lists(others, min_size=1, max_size=3), st.sampled_from([{}, {"odd": 1.5}]),
    )  # fmt: skip


def retained() -> Strategy:
    """Telemetry that the broker had kept: it may be years old and from anybody."""
    return telemetry_of().map(lambda m: _bad("retained", _text(m), "retained", seq=SEQ, retained=True))


def seq_reused() -> Strategy:
    """Number 1, which is used, with samples that are newer than all of its boot."""
    return st.builds(
        lambda ahead, m: _bad(
            "seq_reused", _text({"boot": BOOT, "seq": 1, "samples": [{"t": NOW + ahead, **m}]}), "seq_reused", seq=1
        ),
        st.integers(1, 599_999), measured,
    )  # fmt: skip


def malformed_events() -> Strategy:
    """Births, states and deaths with ranges that cross, too many of them, or fields of another kind."""
    good = {
        "birth": {"boot": BOOT, "at": NOW, "class": "substation", "interval_s": 10},
        "state": {"boot": BOOT, "at": NOW, "next_seq": 2, "waiting": [], "thinned": []},
        "death": {"boot": BOOT},
    }
    crossing = st.tuples(st.integers(2, 2**63 - 1), st.integers(1, 9)).filter(lambda r: r[0] > r[1]).map(list)
    broken = st.one_of(
        st.tuples(st.just("birth"), st.just("interval_s"), st.sampled_from([0, -1, 604_801, "10", None, True, 1e999])),
        st.tuples(st.just("birth"), st.just("class"), st.sampled_from([None, 1, "", "x" * 65, ["meter"]])),
        st.tuples(st.just("birth"), st.just("collector"), st.sampled_from([1, None, "x" * 201, {}])),
        st.tuples(st.just("state"), st.sampled_from(["waiting", "thinned"]), st.one_of(
            crossing.map(lambda r: [r]), st.integers(1001, 1500).map(lambda n: [[2 * i + 1, 2 * i + 1] for i in range(n)]),
            st.sampled_from([[[0, 1]], [[1]], [[1, 2, 3]], [1, 2], None, {}, [[1, 2**63]], [["1", "2"]], [[1.0, 2.0]]]))),
        st.tuples(st.just("state"), st.just("next_seq"), st.sampled_from([0, -1, 2**63, "2", None, 1.5, True])),
        st.tuples(st.just("state"), st.just("waiting_from"), st.sampled_from(["now", 1.5, 2**63, True, []])),
        st.tuples(st.sampled_from(["birth", "state"]), st.just("at"), st.sampled_from([None, "now", 1.5, 2**63])),
        st.tuples(st.sampled_from(["birth", "state", "death"]), st.just("boot"), st.sampled_from([0, -1, 2**63, None, "1", 1.5, True])),
    )  # fmt: skip
    whole = st.tuples(
        st.sampled_from(["birth", "state", "death"]), st.sampled_from([b"", b"[]", b"null", b"{", b"\xff"])
    )
    return st.one_of(
        broken.map(lambda b: _bad("malformed_events", _text({**good[b[0]], b[1]: b[2]}), "schema", seq=None, to=topic(DEVICE, b[0]))),
        whole.map(lambda w: _bad("malformed_events", w[1], "schema" if w[1] in {b"[]", b"null"} else "not_json", seq=None,
                                 to=topic(DEVICE, w[0]))),
        st.just(_bad("malformed_events", _text(good["death"]), "retained", seq=None, to=topic(DEVICE, "death"), retained=True)),
    )  # fmt: skip


# -- odd, and to be taken ------------------------------------------------------------------------------


def duplicate_keys() -> Strategy:
    """A key twice in one object: the last counts, on every path, as nearly every reader has it."""

    def build(value: float, other: float, place: str) -> Bad:
        sample = f'"t":{NOW},"supply_c":{value}'
        parts = {"boot": f'"boot":{BOOT}', "seq": f'"seq":{SEQ}', "samples": f'"samples":[{{{sample}}}]'}
        if place == "value":
            parts["samples"] = f'"samples":[{{"supply_c":{other},{sample}}}]'
        elif place == "t":
            parts["samples"] = f'"samples":[{{"t":1,{sample}}}]'
        elif place == "samples":
            parts["samples"] = f'"samples":[],{parts["samples"]}'
        else:
            parts[place] = f'"{place}":77,{parts[place]}'
        return _bad("duplicate_keys", f"{{{','.join(parts.values())}}}".encode(), STORED, seq=SEQ)

    return st.builds(build, values, values, st.sampled_from(["boot", "seq", "samples", "t", "value"]))


def unicode_tricks() -> Strategy:
    """Text that looks like another, runs backwards or holds NUL is text; half a surrogate is not."""
    whole = st.one_of(
        st.sampled_from(
            [
                "\u202etxt",
                "a\u200bb",
                "\ufeff",
                "x\u0000y",
                "京A\u00b712345",
                "🚚",
                "e\u0301",
                "＜script＞",
                "\x7f",
                "'; --",
            ]
        ),
        st.text(min_size=1, max_size=20).filter(_sendable),
    )
    to = topic("bridge-1")

    def weighing(text: str, name: str) -> Bad:
        sample = {"t": NOW, "mass_kg": 1.0, name: text}
        return _bad(
            "unicode_tricks", _text({"boot": BOOT, "seq": SEQ, "samples": [sample]}), STORED, seq=SEQ, to=to
        )

    half = st.builds(
        lambda code, name: _bad(
            "unicode_tricks",
            f'{{"boot":{BOOT},"seq":{SEQ},"samples":[{{"t":{NOW},"{name}":"\\u{code:04x}"}}]}}'.encode(),
            "not_json", "schema",
            seq=ANY,
            to=to,
        ),
        st.integers(0xD800, 0xDFFF), st.sampled_from(["plate", "odd"]),
    )  # fmt: skip
    return st.one_of(st.builds(weighing, whole, st.sampled_from(["plate", "ticket", "odd_text"])), half)


def strange_names() -> Strategy:
    """Measurements that nobody knows, up to a thousand of them or named like what is kept inside: all kept."""
    inner = ["device", "boot", "seq", "pos", "extra", "key", "quality", "__class__", "model_config", "", " ", "a" * 300,
             "t\u0000", "window_start", "T", "supply_c ", "Supply_C"]  # fmt: skip
    few = st.dictionaries(
        st.sampled_from(inner), st.one_of(values, st.text(max_size=5).filter(_sendable)), min_size=1
    )
    many = st.integers(500, 1000).map(lambda n: {f"k{i}": i for i in range(n)})
    return st.builds(
        lambda odd: _bad(
            "strange_names",
            _text({"boot": BOOT, "seq": SEQ, "samples": [{"t": NOW, **odd}], "later": [1], "": None}),
            STORED,
            seq=SEQ,
        ),
        st.one_of(few, many),
    )


def extreme_numbers() -> Strategy:
    """The largest and the least of what is a number: kept, and flagged where it cannot be."""
    extreme = st.sampled_from(
        [1.7976931348623157e308, -1.7976931348623157e308, 5e-324, -0.0, 2**53 + 1, 10**300, -(10**25)]
    )
    return st.builds(
        lambda name, value: _bad(
            "extreme_numbers",
            _text({"boot": BOOT, "seq": SEQ, "samples": [{"t": NOW, name: value}]}), STORED, seq=SEQ,
        ),
        st.sampled_from([*MEASURED, "odd"]), st.one_of(extreme, st.floats(allow_nan=False, allow_infinity=False)),
    )  # fmt: skip


def servers_own() -> Strategy:
    """What only the server sends: passed over, whoever sends it."""
    return st.builds(
        lambda kind, payload, device, kept: _bad("servers_own", payload, IGNORED, seq=None, to=topic(device, kind), retained=kept),
        st.sampled_from(["ack", "command"]), st.binary(max_size=40), st.sampled_from(["sub-1", "meter-1"]), st.booleans(),
    )  # fmt: skip


CLASSES: Final[dict[str, Callable[[], Strategy]]] = {
    f.__name__: f
    for f in (
        not_utf8, truncated, deep, bombs, noise, not_finite, long_integers, wrong_types, nulls_and_booleans, lacking,
        too_many_samples, huge, numbers_out_of_range, text_for_numbers, future, too_old, unknown_device, wrong_topic,
        topic_mismatch, wrong_class, retained, seq_reused, malformed_events, duplicate_keys, unicode_tricks, strange_names,
        extreme_numbers, servers_own,
    )
}  # fmt: skip
