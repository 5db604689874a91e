"""CJ/T 188 heat meters: read current data (identifier 901F), with the unit that each value carries.

Layout after CJ/T 188-2004 (heat meters, type 0x20 to 0x29): 0x68, type, 7 address bytes, control, length,
identifier, serial number, data, sum of all bytes from 0x68, 0x16. Numbers are packed decimal, lowest
byte first, each energy, power, flow and volume with a code for its unit behind it; some makers put the code
in front. The identifier 901F goes as 90 1F in the edition of 2004 and as 1F 90 in that of 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import Field

from edge.config import DeviceConfig
from edge.driver import Reading, RecordError
from edge.lines import LineOptions
from edge.live import checked
from edge.say import Complaints
from edge.turns import Polled
from edge.units import conversion

__all__ = ["CjDriver", "Options", "Record", "decode", "make"]

CURRENT: Final = {"2004": b"\x90\x1f", "2018": b"\x1f\x90"}
_READ: Final = 0x01
_DATA_LENGTH: Final = 46
# The code of a unit, as (unit, multiple).
_UNITS: Final = {
    0x02: ("Wh", 1.0), 0x05: ("kWh", 1.0), 0x08: ("MWh", 1.0), 0x0A: ("MWh", 100.0),
    0x01: ("kJ", 1e-3), 0x0B: ("kJ", 1.0), 0x0E: ("MJ", 1.0), 0x11: ("GJ", 1.0), 0x13: ("GJ", 100.0),
    0x14: ("W", 1.0), 0x17: ("kW", 1.0), 0x1A: ("MW", 1.0), 0x29: ("l", 1.0), 0x2C: ("m³", 1.0),
    0x32: ("l/h", 1.0), 0x35: ("m³/h", 1.0),
}  # fmt: skip


class _Field(NamedTuple):
    name: str
    offset: int  # in the data after the serial number
    size: int  # bytes of digits
    decimals: int
    unit: str | None  # None: a code stands with the digits


# Heat at the day of settlement comes first and is no current value.
_FIELDS: Final = (
    _Field("energy_gj", 5, 4, 2, None),
    _Field("heat_kw", 10, 4, 2, None),
    _Field("flow_m3_h", 15, 4, 4, None),
    _Field("volume_m3", 20, 4, 2, None),
    _Field("supply_c", 25, 3, 2, "°C"),
    _Field("return_c", 28, 3, 2, "°C"),
    _Field("operating_h", 31, 3, 0, "h"),
)
_STATUS_AT: Final = 41


class Options(LineOptions):
    """The table ``[device.cjt188]``.

    Attributes
    ----------
    meter : str
        The 14 digits on the meter's plate.
    type : int
        0x20 to 0x29: what kind of heat meter.
    edition : {"2004", "2018"}
        Of the standard: the order of the identifier's bytes.
    unit_first : bool
        Whether the code of a unit stands before its number.
    preamble : int
        How many bytes 0xFE wake the line.
    """

    baud: Annotated[int, Field(ge=300, le=38_400)] = 2400
    parity: Literal["N", "E", "O"] = "E"
    meter: Annotated[str, Field(pattern=r"^\d{14}$")]
    type: Annotated[int, Field(ge=0x20, le=0x29)] = 0x20
    edition: Literal["2004", "2018"] = "2004"
    unit_first: bool = False
    preamble: Annotated[int, Field(ge=0, le=20)] = 3

    def request(self, serial: int) -> bytes:
        """Give the request for current data."""
        head = bytes((0x68, self.type)) + bytes.fromhex(self.meter)[::-1] + bytes((_READ, 3))
        frame = head + CURRENT[self.edition] + bytes((serial,))
        return b"\xfe" * self.preamble + frame + bytes((sum(frame) & 0xFF, 0x16))


class Record(NamedTuple):
    """What one answer says: who sent it, its two status bytes, values in the units of their names."""

    meter: str
    status: int
    values: dict[str, float]


def _judge_frame(frame: bytes) -> int:
    """Where the frame starts behind its preamble; RecordError unless it is whole and its sum right."""
    start = len(frame) - len(frame.lstrip(b"\xfe"))
    if len(frame) - start < 13:
        raise RecordError(len(frame), f"expected at least {start + 13} bytes, got {len(frame)}")
    if frame[start] != 0x68:
        raise RecordError(start, f"expected start 0x68, got 0x{frame[start]:02X}")
    whole = start + 13 + frame[start + 10]
    if len(frame) != whole:
        raise RecordError(min(len(frame), whole), f"expected {whole} bytes, got {len(frame)}")
    checksum = sum(frame[start:-2]) & 0xFF
    if checksum != frame[-2]:
        raise RecordError(whole - 2, f"expected checksum 0x{checksum:02X}, got 0x{frame[-2]:02X}")
    if frame[-1] != 0x16:
        raise RecordError(whole - 1, f"expected stop 0x16, got 0x{frame[-1]:02X}")
    return start


def _digits(frame: bytes, offset: int, size: int) -> str:
    digits = frame[offset : offset + size][::-1].hex()
    if not digits.isdigit():
        raise RecordError(offset, f"expected decimal digits, got {digits}")
    return digits


def decode(frame: bytes, options: Options, serial: int) -> Record:
    """Judge and read one answer, preamble included.

    Parameters
    ----------
    frame : bytes
        All that came.
    options : Options
        Who was asked, and how the maker lays data out.
    serial : int
        Number of the request; an answer to another is an error.

    Raises
    ------
    RecordError
        If it is cut off, damaged, of another meter, or says that the meter refused.
    """
    start = _judge_frame(frame)
    if frame[start + 1] != options.type:
        raise RecordError(start + 1, f"expected type 0x{options.type:02X}, got 0x{frame[start + 1]:02X}")
    came = _digits(frame, start + 2, 7)
    if came != options.meter:
        raise RecordError(start + 2, f"expected meter {options.meter}, got an answer of meter {came}")
    if frame[start + 9] != _READ | 0x80:
        refused = " (the meter refused)" if frame[start + 9] == _READ | 0xC0 else ""
        raise RecordError(start + 9, f"expected control 0x81, got 0x{frame[start + 9]:02X}{refused}")
    if frame[start + 10] != _DATA_LENGTH:
        raise RecordError(start + 10, f"expected {_DATA_LENGTH} bytes of data, got {frame[start + 10]}")
    asked, got = CURRENT[options.edition], frame[start + 11 : start + 13]
    if got != asked:
        raise RecordError(start + 11, f"expected identifier {asked.hex(' ')}, got {got.hex(' ')}")
    if frame[start + 13] != serial:
        raise RecordError(start + 13, f"expected request number {serial}, got {frame[start + 13]}")
    data = start + 14
    values = {field.name: _value(frame, data, field, options.unit_first) for field in _FIELDS}
    return Record(came, int.from_bytes(frame[data + _STATUS_AT : data + _STATUS_AT + 2], "little"), values)


def _value(frame: bytes, data: int, field: _Field, unit_first: bool) -> float:
    at = data + field.offset
    coded = field.unit is None
    number = int(_digits(frame, at + (coded and unit_first), field.size)) / 10**field.decimals
    if field.unit is not None:
        return conversion(field.name, field.unit)(number)
    code_at = at if unit_first else at + field.size
    try:
        unit, multiple = _UNITS[frame[code_at]]
        return conversion(field.name, unit)(number * multiple)
    except (KeyError, ValueError) as error:
        raise RecordError(
            code_at, f"expected the code of a unit for {field.name}, got 0x{frame[code_at]:02X}"
        ) from error


class CjDriver(Polled[Options]):
    """Reads one heat meter."""

    def __init__(self, device: str, options: Options, complaints: Complaints | None = None):
        super().__init__(device, options, complaints)
        self._serial = 0

    def read(self, now_ms: int) -> Sequence[Reading]:
        """Ask the meter once."""
        self._serial = (self._serial + 1) % 256
        answer = self._asker.ask(self.options.request(self._serial), _length)
        record = decode(answer, self.options, self._serial)
        if record.status & 0x04:
            self.complain("battery", f"meter {record.meter} reports a weak battery")
        return [Reading(now_ms, record.values)]


def _length(head: bytes) -> int | None:
    """How long an answer is, by its first bytes; what starts otherwise is for `decode` to refuse."""
    start = len(head) - len(head.lstrip(b"\xfe"))
    if start == len(head) or len(head) < start + 11:
        return None if start == len(head) or head[start] == 0x68 else len(head)
    return start + 13 + head[start + 10] if head[start] == 0x68 else len(head)


def make(device: DeviceConfig, options: dict[str, Any]) -> CjDriver:
    """Make the driver from the table ``[device.cjt188]``."""
    return CjDriver(device.id, checked(Options, options, "cjt188"))
