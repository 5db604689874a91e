"""Weighbridge indicators: Toledo's continuous output, or SICS on demand; one sample a weighing.

Continuous: STX, status A B C, six digits shown, six digits of tare, CR, and the two's complement of the
seven-bit sum of all before. On demand: SICS level 0, ``S`` asks for the weight; it carries no checksum,
so a weighing takes several answers that agree.

An indicator shows weights; a weighing is what this driver makes of them: a load above `min_kg` that has
stood still, on a bridge that was empty before. Unstable, over-range and damaged readings never count.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import Field, model_validator

from edge.config import DeviceConfig
from edge.driver import DriverError, Reading, RecordError
from edge.lines import LineOptions
from edge.live import Live, checked
from edge.say import Complaints
from edge.turns import Polled, Streamed
from edge.units import conversion

__all__ = ["Bridge", "ContinuousDriver", "DemandDriver", "Options", "Weight", "decode", "decode_sics", "make"]

_STX: Final = 0x02
_TOLEDO_UNITS: Final = {1: "g", 2: "t", 3: "oz"}
_SICS: Final = re.compile(rb"S ([SD]) ([ \d.-]{10}) (kg|t|g|lb)\r\n")
_NUMBER: Final = re.compile(r" *-?\d+(\.\d+)?")
_SICS_SAYS: Final = {b"S +\r\n": "over-range", b"S -\r\n": "under-range", b"S I\r\n": "busy"}


class Options(LineOptions):
    """The table ``[device.weighbridge]``.

    Attributes
    ----------
    format : {"toledo", "sics"}
        Continuous output, or answers on demand.
    checksum : bool
        Whether the continuous output ends with one.
    unit : {"kg", "t", "lb"}
        That of the indicator. It says its unit with each weight; another is an error, not a
        conversion, for somebody has changed what the scale shows.
    min_kg, empty_kg : float
        A load counts from the one on; below the other the bridge is empty. [kg]
    settle : int
        How many readings in a row have to be stable.
    within_kg : float
        And how close together. [kg]
    step : {"gross", "tare"} or None
        What a weighing at this bridge is, where it is always the same.
    ticket_prefix : str or None
        Number weighings: this and the time, UTC.
    """

    baud: Annotated[int, Field(ge=300, le=115_200)] = 9600
    format: Literal["toledo", "sics"] = "toledo"
    checksum: bool = True
    unit: Literal["kg", "t", "lb"] = "kg"
    min_kg: Annotated[float, Field(gt=0)] = 1000.0
    empty_kg: Annotated[float, Field(gt=0)] = 200.0
    settle: Annotated[int, Field(ge=2, le=100)] = 5
    within_kg: Annotated[float, Field(ge=0)] = 20.0
    step: Literal["gross", "tare"] | None = None
    ticket_prefix: Annotated[str, Field(max_length=32)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Options:
        if self.empty_kg >= self.min_kg:
            raise ValueError(f"expected empty_kg below min_kg, got {self.empty_kg:g} and {self.min_kg:g}")
        return self


class Weight(NamedTuple):
    """One reading of the indicator: the load on the bridge, and what its status says."""

    mass_kg: float
    stable: bool
    in_range: bool = True


def _digits(record: bytes, offset: int) -> int:
    text = record[offset : offset + 6].decode("ascii", "replace").lstrip(" ")
    if not (text.isascii() and text.isdigit()):
        raise RecordError(offset, f"expected six digits, got {record[offset : offset + 6]!r}")
    return int(text)


def _judge(record: bytes, *, checksum: bool) -> None:
    whole = 18 if checksum else 17
    if len(record) != whole:
        raise RecordError(min(len(record), whole), f"expected {whole} bytes, got {len(record)}")
    for offset, byte in enumerate(record):
        if byte > 0x7F:
            raise RecordError(offset, f"expected seven bits, got 0x{byte:02X}: check bits and parity")
    if record[0] != _STX:
        raise RecordError(0, f"expected STX, got 0x{record[0]:02X}")
    if record[16] != 0x0D:
        raise RecordError(16, f"expected CR, got 0x{record[16]:02X}")
    if checksum and (expected := -sum(record[:17]) & 0x7F) != record[17]:
        raise RecordError(17, f"expected checksum 0x{expected:02X}, got 0x{record[17]:02X}")
    for offset in (1, 3):
        if not record[offset] & 0x20:
            raise RecordError(offset, f"expected a status with bit 5 set, got 0x{record[offset]:02X}")


def decode(record: bytes, options: Options) -> Weight:
    """Judge and read one record of the continuous output.

    Raises
    ------
    RecordError
        If it is cut off, damaged, expanded, or in another unit.
    """
    _judge(record, checksum=options.checksum)
    a, b, c = record[1:4]
    unit = _TOLEDO_UNITS.get(c & 7, "kg" if b & 0x10 else "lb") if c & 7 < 4 else "another unit"
    if unit != options.unit:
        raise RecordError(2, f"expected weights in {options.unit}, got {unit}: the indicator was changed")
    if c & 0x10:
        raise RecordError(3, "expected weights as shown, got ten times expanded ones")
    shown, tare = _digits(record, 4), _digits(record, 10)
    load = (-shown if b & 2 else shown) + (tare if b & 1 else 0)
    places = (a & 7) - 2
    number = load / 10**places if places >= 0 else float(load * 10**-places)
    return Weight(conversion("mass_kg", unit)(number), stable=not b & 8, in_range=not b & 4)


def decode_sics(record: bytes, options: Options) -> Weight:
    """Judge and read one answer to ``S``.

    Raises
    ------
    RecordError
        If it is cut off, damaged, or in another unit.
    DriverError
        If the scale is busy.
    """
    says = _SICS_SAYS.get(record)
    if says == "busy":
        raise DriverError("expected a weight, got 'S I': the scale is busy")
    if says is not None:
        return Weight(0.0, stable=False, in_range=False)
    if not record.endswith(b"\r\n"):
        raise RecordError(len(record), f"expected CR LF at the end, got {record[-8:]!r}")
    found = _SICS.fullmatch(record)
    if found is None:
        offset = next((i for i, byte in enumerate(record) if byte not in b"SD +-.0123456789kgtlb\r\n"), 0)
        raise RecordError(offset, f"expected S, a status, a weight and its unit, got {record[:40]!r}")
    number, unit = found[2].decode(), found[3].decode()
    if not _NUMBER.fullmatch(number):
        raise RecordError(4, f"expected a weight, got {number!r}")
    if unit != options.unit:
        raise RecordError(15, f"expected weights in {options.unit}, got {unit}: the indicator was changed")
    return Weight(conversion("mass_kg", unit)(float(number)), stable=found[1] == b"S")


class Bridge:
    """Tells weighings from weights. Pure.

    A bridge counts as occupied until it was seen empty, so that a collector that starts anew does not
    weigh again what stands there.

    Parameters
    ----------
    options : Options
        Thresholds.
    """

    def __init__(self, options: Options):
        self.shown: Weight | None = None
        self._options = options
        self._armed = False
        self._steady: list[float] = []

    def __str__(self) -> str:
        if self.shown is None:
            return ""
        state = "in motion" if not self.shown.stable else "stable"
        return f"shows {self.shown.mass_kg:g} kg, {state if self.shown.in_range else 'out of range'}"

    def take(self, weight: Weight) -> float | None:
        """Mass of a weighing that this reading completes, else None. [kg]"""
        o = self._options
        if weight.in_range and weight.mass_kg < o.empty_kg:
            self._armed = True
        if not (self._armed and weight.in_range and weight.stable and weight.mass_kg >= o.min_kg):
            self._steady = []
            return None
        if self._steady and abs(weight.mass_kg - self._steady[0]) > o.within_kg:
            self._steady = []
        self._steady.append(weight.mass_kg)
        if len(self._steady) < o.settle:
            return None
        self._armed, self._steady = False, []
        return weight.mass_kg


def _reading(options: Options, now_ms: int, mass_kg: float) -> Reading:
    values: dict[str, float | str] = {"mass_kg": mass_kg}
    if options.step is not None:
        values["step"] = options.step
    if options.ticket_prefix is not None:
        at = datetime.fromtimestamp(now_ms / 1000, UTC)
        values["ticket"] = f"{options.ticket_prefix}{at:%Y%m%dT%H%M%S}.{now_ms % 1000:03d}"
    return Reading(now_ms, values)


def _weigh(driver: Live, bridge: Bridge, weight: Weight) -> float | None:
    bridge.shown = weight
    if not weight.in_range:
        driver.complain("over-range", "expected a weight in range, got over- or under-range: left out")
    return bridge.take(weight)


class ContinuousDriver(Streamed[Options]):
    """Follows the continuous output of an indicator."""

    def __init__(self, device: str, options: Options, complaints: Complaints | None = None):
        super().__init__(device, options, complaints)
        self._bridge = Bridge(options)

    def read(self, now_ms: int) -> Sequence[Reading]:
        """Weighings completed since the last call; DriverError if not one record was sound."""
        weighed: list[float] = []
        troubles: list[tuple[str, DriverError]] = []
        records = self._pull(self._split, bool)
        for record in records:
            try:
                mass_kg = _weigh(self, self._bridge, decode(record, self.options))
            except RecordError as error:
                troubles.append(("record", error))
            else:
                weighed += [] if mass_kg is None else [mass_kg]
        self.troubled(troubles, anything=len(troubles) < len(records))
        # A time names one sample: of several trucks since the last call the last is of now.
        first_ms = now_ms - len(weighed) + 1
        return [_reading(self.options, first_ms + i, mass_kg) for i, mass_kg in enumerate(weighed)]

    def glance(self) -> str:
        """What the indicator shows."""
        return str(self._bridge)

    def _split(self, buffer: bytes) -> tuple[list[bytes], bytes]:
        """Cut at the starts of records; the checksum behind a CR may look like a start itself."""
        whole = 18 if self.options.checksum else 17
        records: list[bytes] = []
        at = buffer.find(b"\x02")
        while at >= 0 and at + whole <= len(buffer):
            end = at + whole
            if buffer[at + 16] != 0x0D:  # cut short: the next one starts earlier than its length says
                next_at = buffer.find(b"\x02", at + 1)
                end = min(end, next_at) if next_at > 0 else end
            records.append(buffer[at:end])
            at = buffer.find(b"\x02", end)
        return records, buffer[at:] if at >= 0 else b""


class DemandDriver(Polled[Options]):
    """Asks a scale for its weight."""

    def __init__(self, device: str, options: Options, complaints: Complaints | None = None):
        super().__init__(device, options, complaints)
        self._bridge = Bridge(options)

    def read(self, now_ms: int) -> Sequence[Reading]:
        """Ask as often as a weighing needs answers; a weighing, or nothing."""
        for _ in range(self.options.settle):
            answer = self._asker.ask(b"S\r\n", lambda head: len(head) if head.endswith(b"\n") else None)
            weight = decode_sics(answer, self.options)
            mass_kg = _weigh(self, self._bridge, weight)
            if mass_kg is not None:
                return [_reading(self.options, now_ms, mass_kg)]
            if not weight.stable or weight.mass_kg < self.options.min_kg:
                break
        return []

    def glance(self) -> str:
        """What the indicator shows."""
        return str(self._bridge)


def make(device: DeviceConfig, options: dict[str, Any]) -> ContinuousDriver | DemandDriver:
    """Make the driver from the table ``[device.weighbridge]``."""
    given = checked(Options, options, "weighbridge")
    return ContinuousDriver(device.id, given) if given.format == "toledo" else DemandDriver(device.id, given)
