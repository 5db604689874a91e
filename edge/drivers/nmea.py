"""NMEA 0183 receivers: position, speed and course from RMC sentences, on a serial line or TCP.

pynmea2 splits sentences. It takes one without a checksum or without its start, and gives 0° where the
letter of a hemisphere is wrong, so both are judged here. A sentence without a fix is no position.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import Field

from edge.config import DeviceConfig
from edge.datum import wgs84_of
from edge.driver import DriverError, Reading, RecordError
from edge.lines import LineOptions
from edge.live import checked, need
from edge.say import Complaints
from edge.turns import Streamed

__all__ = ["Fix", "NmeaDriver", "NoFixError", "Options", "UnknownSentenceError", "decode", "make"]

MAX_SENTENCE: Final = 120  # the standard says 82; receivers of several systems go beyond
EARLIEST: Final = date(2020, 1, 1)  # an older one is a receiver whose week number has rolled over
_KNOT_M_S: Final = 1852 / 3600
_FIXED: Final = frozenset("ADFRP")  # autonomous, differential, float, real-time kinematic, precise
_DEGREES: Final = re.compile(r"(\d{2,3})([0-5]\d\.\d+)")


class Options(LineOptions):
    """The table ``[device.nmea]``.

    Attributes
    ----------
    datum : {"wgs84", "gcj02"}
        That of the receiver; GCJ-02 is converted.
    every : bool
        Every fix, and not just the last one of each interval.
    """

    baud: Annotated[int, Field(ge=1200, le=921_600)] = 4800
    datum: Literal["wgs84", "gcj02"] = "wgs84"
    every: bool = False


class Fix(NamedTuple):
    """A position as the receiver gives it."""

    t_ms: int
    lat_deg: float
    lon_deg: float
    speed_m_s: float | None
    heading_deg: float | None


class NoFixError(DriverError):
    """The receiver has no fix."""


class UnknownSentenceError(DriverError):
    """A sound sentence of a kind that is not known."""


@lru_cache(maxsize=1)
def _library() -> Any:
    return need("pynmea2", "pynmea2", "nmea")


def _judge(sentence: bytes) -> None:
    """Raise RecordError unless start, end, characters and checksum are right."""
    if not sentence.startswith(b"$"):
        raise RecordError(0, f"expected $, got {sentence[:1]!r}")
    if not sentence.endswith(b"\r\n"):
        raise RecordError(len(sentence), f"expected CR LF at the end, got {sentence[-4:]!r}")
    if len(sentence) > MAX_SENTENCE:
        raise RecordError(MAX_SENTENCE, f"expected at most {MAX_SENTENCE} bytes, got {len(sentence)}")
    for offset, byte in enumerate(sentence[:-2]):
        if not 0x20 <= byte <= 0x7E:
            raise RecordError(offset, f"expected a printable character, got 0x{byte:02X}")
    star = len(sentence) - 5
    if sentence.find(b"*") != star:
        raise RecordError(max(star, 0), "expected one *, with two digits behind it, before the end")
    digits = sentence[star + 1 : star + 3]
    checksum = 0
    for byte in sentence[1:star]:
        checksum ^= byte
    if digits != b"%02X" % checksum:
        raise RecordError(star + 1, f"expected checksum {checksum:02X}, got {digits.decode()}")


def decode(sentence: bytes) -> Fix | None:
    r"""Judge and read one sentence, CR LF included.

    Returns
    -------
    Fix or None
        None for a sound sentence that gives no position.

    Raises
    ------
    RecordError
        If it is cut off or damaged.
    NoFixError
        If the receiver says that it has none.
    UnknownSentenceError
        If nobody knows what it says.

    Examples
    --------
    >>> fix = decode(b"$GNRMC,083559.00,A,3954.5220,N,11623.8500,E,19.44,77.5,010126,,,A*7F\r\n")
    >>> round(fix.lat_deg, 6), round(fix.lon_deg, 6), round(fix.speed_m_s, 2)
    (39.9087, 116.3975, 10.0)
    """
    _judge(sentence)
    library = _library()
    try:
        parsed = library.parse(sentence.decode("ascii"), check=True)
    except library.SentenceTypeError as error:
        raise UnknownSentenceError(f"expected a known sentence, got {sentence[1:7]!r}") from error
    except (library.ParseError, ValueError, LookupError) as error:  # the last: a maker's own that is short
        raise RecordError(1, f"expected a sentence, got {sentence[:20]!r}") from error
    if getattr(parsed, "sentence_type", "") != "RMC":
        return None
    fields = [*parsed.data, *[""] * 13]
    if fields[1] != "A" or (fields[11] and fields[11] not in _FIXED):
        raise NoFixError(f"expected a fix, got status {fields[1] or 'none'}, mode {fields[11] or 'none'}")
    return Fix(
        _time_ms(sentence, fields),
        _degrees(sentence, fields, 2, "NS", 90.0),
        _degrees(sentence, fields, 4, "EW", 180.0),
        _number(sentence, fields, 6, 1e4, _KNOT_M_S),
        _number(sentence, fields, 7, 360.0, 1.0),
    )


def _offset(sentence: bytes, field: int) -> int:
    """Where a field begins, counted from the one behind the name."""
    at = -1
    for _ in range(field + 1):
        at = sentence.find(b",", at + 1)
    return at + 1 if at >= 0 else len(sentence)


def _degrees(sentence: bytes, fields: list[str], at: int, letters: str, most: float) -> float:
    found = _DEGREES.fullmatch(fields[at])
    if found is None or fields[at + 1] not in tuple(letters):
        came = f"{fields[at]!r}, {fields[at + 1]!r}"
        raise RecordError(_offset(sentence, at), f"expected degrees, minutes and a letter, got {came}")
    value = int(found[1]) + float(found[2]) / 60
    if value > most:
        raise RecordError(_offset(sentence, at), f"expected at most {most:g}°, got {value:g}°")
    return value if fields[at + 1] == letters[0] else -value


def _number(sentence: bytes, fields: list[str], at: int, most: float, factor: float) -> float | None:
    if not fields[at]:
        return None
    if not re.fullmatch(r"\d+(\.\d*)?", fields[at]) or float(fields[at]) > most:
        raise RecordError(_offset(sentence, at), f"expected 0 to {most:g}, got {fields[at]!r}")
    return float(fields[at]) * factor


def _time_ms(sentence: bytes, fields: list[str]) -> int:
    clock, day = fields[0], fields[8]
    if not re.fullmatch(r"\d{6}(\.\d{1,6})?", clock) or not re.fullmatch(r"\d{6}", day):
        raise RecordError(_offset(sentence, 0), f"expected a time and a date, got {clock!r} and {day!r}")
    try:
        on = date(2000 + int(day[4:]), int(day[2:4]), int(day[:2]))
        # A leap second is the last of its minute once more: UTC in milliseconds has no place for it.
        at = time(int(clock[:2]), int(clock[2:4]), min(int(clock[4:6]), 59))
    except ValueError as error:
        raise RecordError(_offset(sentence, 0), f"expected a time and a date, got {clock}, {day}") from error
    if on < EARLIEST:
        raise RecordError(
            _offset(sentence, 8), f"expected a date since {EARLIEST}, got {on}: a week rollover"
        )
    part_ms = round(float("0" + clock[6:]) * 1000) if clock[6:] else 0
    return int(datetime.combine(on, at, UTC).timestamp()) * 1000 + part_ms


class NmeaDriver(Streamed[Options]):
    """Follows one receiver."""

    def __init__(self, device: str, options: Options, complaints: Complaints | None = None):
        _library()
        super().__init__(device, options, complaints)

    def read(self, now_ms: int) -> Sequence[Reading]:  # noqa: ARG002  a fix carries its own time
        """Fixes since the last call; DriverError if there was none and something was wrong."""
        fixes: list[Fix] = []
        troubles: list[tuple[str, DriverError]] = []
        for sentence in self._pull(_split, _tells_position):
            try:
                fix = decode(sentence)
            except UnknownSentenceError as error:
                self.complain(f"unknown sentence {sentence[1:6].decode('ascii', 'replace')}", error)
            except NoFixError as error:
                troubles.append(("no fix", error))
            except RecordError as error:
                troubles.append(("record", error))
            else:
                fixes += [] if fix is None else [fix]
        self.troubled(troubles, anything=bool(fixes))
        return [self._reading(fix) for fix in (fixes if self.options.every else fixes[-1:])]

    def _reading(self, fix: Fix) -> Reading:
        lat, lon = fix.lat_deg, fix.lon_deg
        if self.options.datum == "gcj02":
            lat, lon = wgs84_of(lat, lon)
        values: dict[str, float | str] = {"lat_deg": lat, "lon_deg": lon}
        if fix.speed_m_s is not None:
            values["speed_m_s"] = fix.speed_m_s
        if fix.heading_deg is not None:
            values["heading_deg"] = fix.heading_deg
        return Reading(fix.t_ms, values)


def _tells_position(sentences: Sequence[bytes]) -> bool:
    return any(sentence[3:6] == b"RMC" for sentence in sentences)


def _split(buffer: bytes) -> tuple[list[bytes], bytes]:
    """Cut at line ends; what precedes the first start was heard from the middle on."""
    *lines, rest = buffer.split(b"\n")
    records = [line + b"\n" for line in lines if line.strip()]
    if records and not records[0].startswith(b"$") and b"$" not in records[0]:
        records = records[1:]
    return records, rest[-2 * MAX_SENTENCE :]


def make(device: DeviceConfig, options: dict[str, Any]) -> NmeaDriver:
    """Make the driver from the table ``[device.nmea]``."""
    return NmeaDriver(device.id, checked(Options, options, "nmea"))
