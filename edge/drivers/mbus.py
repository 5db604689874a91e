"""Wired M-Bus meters (EN 13757-2, -3): one request, one variable-data telegram.

pyMeterBus reads the records. It takes what it can of a damaged telegram (a digit beyond 9, a last record
cut short), so the frame, its length and every record are judged here first, with their offsets.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated, Any, Final, NamedTuple

from pydantic import Field, field_validator, model_validator

from edge.config import DeviceConfig
from edge.driver import Reading, RecordError
from edge.lines import LineOptions
from edge.live import checked, need
from edge.say import Complaints
from edge.turns import Polled
from edge.units import conversion

__all__ = ["MbusDriver", "Options", "Telegram", "decode", "make"]

# What a heat meter sends, by the names of pyMeterBus, and the measurement that it is by default.
_QUANTITIES: Final = {
    "ENERGY_WH": "energy_gj", "ENERGY_J": "energy_gj", "VOLUME": "volume_m3", "POWER_W": "heat_kw",
    "POWER_J_H": "heat_kw", "VOLUME_FLOW": "flow_m3_h", "VOLUME_FLOW_EXT": "flow_m3_h",
    "VOLUME_FLOW_EXT_S": "flow_m3_h", "FLOW_TEMPERATURE": "supply_c", "RETURN_TEMPERATURE": "return_c",
    "OPERATING_TIME": "operating_h", "ON_TIME": "on_h",
}  # fmt: skip
_UNITS: Final = {"Wh": ("Wh", 1.0), "J": ("kJ", 1e-3), "m^3": ("m³", 1.0), "W": ("W", 1.0),
                 "J/h": ("GJ/h", 1e-9), "m^3/h": ("m³/h", 1.0), "m^3/min": ("m³/s", 1 / 60),
                 "m^3/s": ("m³/s", 1.0), "C": ("°C", 1.0), "seconds": ("s", 1.0)}  # fmt: skip
_SIZES: Final = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 4, 6: 6, 7: 8, 8: 0, 9: 1, 10: 2, 11: 3, 12: 4, 14: 6}
_DEFAULT: Final = ("energy_gj", "volume_m3", "heat_kw", "flow_m3_h", "supply_c", "return_c", "operating_h")
_TEXT: Final = 13
_ACKNOWLEDGED: Final = b"\xe5"
NETWORK: Final = 0xFD
"""Address of the meter that a secondary address has selected."""


class Options(LineOptions):
    """The table ``[device.mbus]``.

    Attributes
    ----------
    meter : int or None
        Primary address, 1 to 250.
    secondary : str or None
        Instead: the eight digits on the meter's plate.
    reset : bool
        Whether to reset the meter's link before each request (SND_NKE), so that its answer is a new one.
    values : list of str
        Measurements to take, of those that a heat meter sends.
    """

    baud: Annotated[int, Field(ge=300, le=38_400)] = 2400
    parity: Any = "E"
    meter: Annotated[int, Field(ge=1, le=250)] | None = None
    secondary: Annotated[str, Field(pattern=r"^\d{8}$")] | None = None
    reset: bool = True
    values: list[str] = Field(default=list(_DEFAULT), min_length=1)

    @field_validator("parity")
    @classmethod
    def _even(cls, parity: Any) -> Any:
        if parity not in ("N", "E", "O"):
            raise ValueError("expected N, E or O")
        return parity

    @model_validator(mode="after")
    def _fits(self) -> Options:
        if (self.meter is None) == (self.secondary is None):
            raise ValueError("expected meter or secondary, one of them")
        for name in self.values:
            if name not in _DEFAULT:
                raise ValueError(f"values: expected some of {', '.join(_DEFAULT)}, got {name!r}")
        return self


class Telegram(NamedTuple):
    """What one telegram says: who sent it, its status byte, and values in the units of their names."""

    address: int
    ident: str
    status: int
    values: dict[str, float]


@lru_cache(maxsize=1)
def _library() -> Any:
    return need("meterbus", "pyMeterBus", "mbus")


def short_frame(control: int, address: int) -> bytes:
    """Give a request without data: start, control, address, checksum, stop."""
    return bytes((0x10, control, address, (control + address) & 0xFF, 0x16))


def select_frame(ident: str) -> bytes:
    """Give the telegram that selects a meter by its eight digits; all else of its address is open."""
    body = bytes((0x53, NETWORK, 0x52)) + bytes.fromhex(ident)[::-1] + b"\xff\xff\xff\xff"
    return bytes((0x68, len(body), len(body), 0x68)) + body + bytes((sum(body) & 0xFF, 0x16))


def _frame(frame: bytes) -> bytes:
    """User data of a long frame, control field first; RecordError unless it is whole and sound."""
    if len(frame) < 6:
        raise RecordError(len(frame), f"expected at least 6 bytes, got {len(frame)}")
    for offset in (0, 3):
        if frame[offset] != 0x68:
            raise RecordError(offset, f"expected start 0x68, got 0x{frame[offset]:02X}")
    if frame[1] != frame[2]:
        raise RecordError(2, f"expected the length {frame[1]} again, got {frame[2]}")
    whole = frame[1] + 6
    if len(frame) != whole:
        raise RecordError(min(len(frame), whole), f"expected {whole} bytes, got {len(frame)}")
    body = frame[4:-2]
    if (checksum := sum(body) & 0xFF) != frame[-2]:
        raise RecordError(whole - 2, f"expected checksum 0x{checksum:02X}, got 0x{frame[-2]:02X}")
    if frame[-1] != 0x16:
        raise RecordError(whole - 1, f"expected stop 0x16, got 0x{frame[-1]:02X}")
    return body


def _judge_records(body: bytes, start: int) -> None:
    """Walk the records once: each whole, each decimal digit one. Offsets are those of the frame."""
    at = start
    while at < len(body):
        dif = body[at]
        if dif in (0x0F, 0x1F):
            return  # what follows is the maker's own
        if dif == 0x2F:
            at += 1
            continue
        first = at
        while body[at] & 0x80:
            at = _next(body, at)
        at = _next(body, at)  # the first byte of the value information
        plain_text = body[at] & 0x7F == 0x7C
        while body[at] & 0x80:
            at = _next(body, at)
        at += 1
        if plain_text:
            at += 1 + (body[at] if at < len(body) else 0)
        size = _SIZES.get(dif & 0x0F)
        if size is None:
            if at >= len(body):
                raise RecordError(4 + len(body), "expected the length of a text, got the end")
            size = body[at] + 1 if body[at] < 0xC0 else (body[at] & 0x0F) * (2 if body[at] < 0xE0 else 1) + 1
        if at + size > len(body):
            raise RecordError(
                4 + len(body),
                f"expected {at + size - len(body)} more bytes of the record at {4 + first}, got the end",
            )
        at += size


def _next(body: bytes, at: int) -> int:
    if at + 1 >= len(body):
        raise RecordError(4 + len(body), "expected the record to go on, got the end")
    return at + 1


def _value(record: Any, frame_offset: int) -> float | None:
    """Value of one record as the meter's unit has it; None where the meter says that it has none."""
    parts = bytes(record.dataField.parts)
    coding = record.dib.parts[0] & 0x0F
    if 9 <= coding <= 14 and coding != 13:
        digits = parts[::-1].hex()
        if set(digits) == {"f"}:
            return None
        if not digits.removeprefix("f").isdigit():
            raise RecordError(frame_offset, f"expected decimal digits, got {digits}")
    if coding == 5:
        multiplier = float(record._parse_vifx()[0])  # noqa: SLF001  it has no other way to its scale
        return float(struct.unpack("<f", parts)[0]) * multiplier  # its own reading takes the host's order
    value = record.parsed_value
    return None if value is None else float(value)


def decode(frame: bytes, meter: int | None = None, ident: str | None = None) -> Telegram:
    """Judge and read one answer.

    Parameters
    ----------
    frame : bytes
        The whole telegram.
    meter, ident : int, str, optional
        Who was asked; another's answer is an error.

    Raises
    ------
    RecordError
        If it is cut off, damaged, or of another meter.
    """
    body = _frame(frame)
    if body[0] & 0xCF != 0x08:
        raise RecordError(4, f"expected an answer (control 0x08), got 0x{body[0]:02X}")
    if meter is not None and body[1] != meter:
        raise RecordError(5, f"expected meter {meter}, got an answer of meter {body[1]}")
    if len(body) < 15 or body[2] != 0x72:
        got = f"0x{body[2]:02X}" if len(body) > 2 else "nothing"
        raise RecordError(6, f"expected a telegram of variable data (0x72) with its header, got {got}")
    number = body[3:7][::-1].hex()
    if ident is not None and number != ident:
        raise RecordError(7, f"expected meter {ident}, got an answer of meter {number}")
    _judge_records(body, 15)
    values: dict[str, float] = {}
    try:
        for record in _library().load(frame).records:
            name = _measurement(record)
            if name is not None and name not in values:
                raw = _value(record, 19)
                if raw is not None:
                    unit, factor = _UNITS[record.unit]
                    values[name] = conversion(name, unit)(raw * factor)
    except (LookupError, ValueError) as error:  # what the library makes of a record that it does not know
        raise RecordError(19, f"expected records that are known, got: {error!r:.120}") from error
    if "on_h" in values:  # what some makers count instead of the hours in which it measured
        values.setdefault("operating_h", values.pop("on_h"))
    return Telegram(body[1], number, body[12], values)


def _measurement(record: Any) -> str | None:
    """Which measurement a record is: only what is plain, present, and of no tariff."""
    if len(record.vib.parts) != 1 or record.dib.is_eoud or not record.dataField.parts:
        return None
    storage, tariff, device = record.dib.parse_dife()
    if storage or tariff or device or record.dib.function_type.value != 0:
        return None
    if record.dib.parts[0] & 0x0F == _TEXT:
        return None
    kind = record._parse_vifx()[2]  # noqa: SLF001  it has no other way to the kind of quantity
    return _QUANTITIES.get(getattr(kind, "name", ""))


class MbusDriver(Polled[Options]):
    """Reads one meter."""

    def __init__(self, device: str, options: Options, complaints: Complaints | None = None):
        _library()
        super().__init__(device, options, complaints)
        self._count = False

    def read(self, now_ms: int) -> Sequence[Reading]:
        """Ask the meter once."""
        ident = self.options.secondary
        frame = self._asker.ask(*self._request(), first=self._opening())
        telegram = decode(frame, self.options.meter, ident)
        values: dict[str, float | str] = {}
        for name in self.options.values:
            if name in telegram.values:
                values[name] = telegram.values[name]
            else:
                self.complaints.add(
                    f"{self.device} {name} missing",
                    f"{self.device}: {name}: expected it in the telegram, got none; it is left out",
                    once=True,
                )
        if telegram.status & 0x1C:
            self.complain("alarm", f"meter {telegram.ident} reports a fault: status 0x{telegram.status:02X}")
        return [Reading(now_ms, values)]

    def _opening(self) -> tuple[bytes, bytes] | None:
        """What goes before a request: the selection of a meter, or the reset of its frame count."""
        if self.options.secondary is not None:
            return select_frame(self.options.secondary), _ACKNOWLEDGED
        return (short_frame(0x40, self.options.meter or 0), _ACKNOWLEDGED) if self.options.reset else None

    def _request(self) -> tuple[bytes, Callable[[bytes], int | None]]:
        """Ask for data. A meter repeats its last telegram, old values and all, for a count that it knows.

        After a reset the count is 1; where nothing resets it, it alternates.
        """
        if self.options.secondary is None and self.options.reset:
            return short_frame(0x7B, self.options.meter or 0), _length
        self._count = not self._count
        address = NETWORK if self.options.secondary else self.options.meter or 0
        return short_frame(0x7B if self._count else 0x5B, address), _length


def _length(head: bytes) -> int | None:
    """How long an answer is: a long frame tells, anything else is for `decode` to refuse."""
    if head[0] != 0x68:
        return len(head)
    return None if len(head) < 2 else head[1] + 6


def make(device: DeviceConfig, options: dict[str, Any]) -> MbusDriver:
    """Make the driver from the table ``[device.mbus]``."""
    return MbusDriver(device.id, checked(Options, options, "mbus"))
