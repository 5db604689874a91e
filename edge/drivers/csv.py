"""Any CSV file as a device: column map, units, time zone, at real time, a speed, or as fast as it goes.

One line is one record, and every record becomes one reading, repeated rows included. An empty cell, or
one that is no finite number, is a measurement that was not taken. A record with too few or too many
fields, without a line end at the end of the file, or without a readable time is an error that names
its line and byte offset, and the next record is read.
"""

from __future__ import annotations

import csv
import json
import math
import re
import zlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from edge.config import ConfigError, DeviceConfig, explain
from edge.driver import DriverError, Reading
from edge.recorded_time import LocalClock, parser, zone
from edge.say import Complaints, to_stderr
from edge.units import Conversion, conversion
from edge.water_table import density_kg_m3

__all__ = ["CsvDriver", "Options", "make"]

MAX_ROWS: Final = 1000
MAX_LINE: Final = 1 << 20
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class Column(BaseModel):
    """Where one measurement comes from.

    Attributes
    ----------
    column : str
        Name in the header.
    unit : str or None
        Unit in the file; None: that of the measurement's name.
    density_at : str or None
        Measurement whose temperature gives the density, where the file has a mass flow.
    text : bool
        Whether it is text (a plate, a ticket) and not a number.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    column: str
    unit: str | None = None
    density_at: str | None = None
    text: bool = False


class Options(BaseModel):
    """The table ``[device.csv]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    path: Path
    time_column: str
    time_format: str = "iso"
    timezone: str = "UTC"
    epoch: datetime | None = None
    pace: Literal["fast", "real"] | Annotated[float, Field(gt=0, allow_inf_nan=False)] = "real"
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    decimal: Literal[".", ","] = "."
    encoding: str = "utf-8"
    unterminated: Literal["refuse", "accept"] = "refuse"
    columns: dict[str, Column] = Field(min_length=1)

    @field_validator("columns", mode="before")
    @classmethod
    def _short(cls, raw: Any) -> Any:
        if isinstance(raw, dict):
            return {name: {"column": spec} if isinstance(spec, str) else spec for name, spec in raw.items()}
        return raw

    @field_validator("timezone")
    @classmethod
    def _is_zone(cls, name: str) -> str:
        zone(name)
        return name

    @field_validator("epoch")
    @classmethod
    def _is_aware(cls, epoch: datetime | None) -> datetime | None:
        if epoch is not None and epoch.tzinfo is None:
            raise ValueError("expected a time with its offset, such as 2019-01-01T00:00:00Z")
        return epoch

    @model_validator(mode="after")
    def _fits(self) -> Options:
        if (self.time_format == "seconds_from") != (self.epoch is not None):
            raise ValueError("expected epoch with time_format = 'seconds_from', and only with it")
        for name, column in self.columns.items():
            how = conversion(name, column.unit)
            if column.text and column.unit is not None:
                raise ValueError(f"columns.{name}: expected no unit for text, got {column.unit!r}")
            if how.by_density and (column.density_at not in self.columns or column.density_at == name):
                raise ValueError(
                    f"columns.{name}: expected density_at to name a temperature among the columns, "
                    f"as {column.unit} is a mass flow, got {column.density_at!r}"
                )
        return self


class _Mark(NamedTuple):
    """Where a record ends: what is needed to go on after it."""

    offset: int
    lines: int
    crc: int
    row_crc: int
    clock: tuple[str, bool]


class _Row(NamedTuple):
    reading: Reading | None
    error: DriverError | None
    mark: _Mark


class _Cell(NamedTuple):
    name: str
    place: int
    spec: Column
    convert: Conversion


class CsvDriver:
    """Reads one CSV file as one device.

    Parameters
    ----------
    device : str
        Name for messages.
    options : Options
        With `path` already absolute.
    complaints : Complaints, optional
        Told, once a column, of cells that are no numbers.

    Raises
    ------
    ConfigError
        If the file cannot be opened or its header lacks a column.
    """

    def __init__(self, device: str, options: Options, complaints: Complaints | None = None):
        self.options = options
        self.complaints = complaints or Complaints(to_stderr)
        self._device = device
        self._clock = LocalClock(zone(options.timezone))
        self._time = parser(options.time_format, self._clock, options.epoch)
        try:
            self._file: BinaryIO = options.path.open("rb")
        except OSError as error:
            raise ConfigError(f"path: expected a readable CSV file, got: {error}") from error
        try:
            self._header()
        except BaseException:
            self._file.close()
            raise
        self._last_ms = 0
        self._anchor: tuple[int, int] | None = None
        self._next = self._parse()

    def _header(self) -> None:
        raw = self._file.readline(MAX_LINE)
        names = self._fields(raw.decode(self.options.encoding).removeprefix("\ufeff").rstrip("\r\n"))
        wanted = [self.options.time_column, *(c.column for c in self.options.columns.values())]
        for name in wanted:
            if names.count(name) != 1:
                raise ConfigError(
                    f"{self.options.path}:1: expected one column {name!r}, "
                    f"got {names.count(name)} in {', '.join(names)}"
                )
        self._width = len(names)
        self._time_index = names.index(self.options.time_column)
        cells = [
            _Cell(name, names.index(spec.column), spec, conversion(name, spec.unit))
            for name, spec in self.options.columns.items()
        ]
        self._cells = sorted(
            cells, key=lambda cell: cell.convert.by_density
        )  # a density needs its temperature first
        self._mark = self._at = _Mark(len(raw), 1, zlib.crc32(raw), 0, self._clock.state)

    def _fields(self, text: str) -> list[str]:
        return next(csv.reader([text], delimiter=self.options.delimiter, strict=True), [])

    def _parse(self) -> _Row | None:
        """Read the next record; None at the end of the file."""
        while raw := self._file.readline(MAX_LINE):
            before = self._at
            row_crc = zlib.crc32(raw)
            error: DriverError | None = None
            reading: Reading | None = None
            if raw.strip():
                try:
                    reading = self._record(raw, repeated=row_crc == before.row_crc)
                except (ValueError, csv.Error) as fault:
                    error = DriverError(
                        f"{self.options.path}:{before.lines + 1} (byte {before.offset}): {fault}"
                    )
            self._at = _Mark(
                before.offset + len(raw),
                before.lines + 1,
                zlib.crc32(raw, before.crc),
                row_crc,
                self._clock.state,
            )
            if reading is not None or error is not None:
                return _Row(reading, error, self._at)
        return None

    def _record(self, raw: bytes, *, repeated: bool) -> Reading:
        if not raw.endswith(b"\n") and self.options.unterminated == "refuse":
            raise ValueError(
                "expected a line end, got the end of the file: the record may be cut off "
                "(unterminated = 'accept' takes it)"
            )
        fields = self._fields(raw.decode(self.options.encoding).rstrip("\r\n"))
        if len(fields) != self._width:
            raise ValueError(f"expected {self._width} fields, got {len(fields)}")
        t_ms = self._time(fields[self._time_index].strip(), repeated)
        values: dict[str, float | str] = {}
        for cell in self._cells:
            value = self._value(cell, fields[cell.place].strip(), values)
            if value is not None:
                values[cell.name] = value
        return Reading(t_ms, {name: values[name] for name in self.options.columns if name in values})

    def _value(self, cell: _Cell, text: str, values: dict[str, float | str]) -> float | str | None:
        if not text or cell.spec.text:
            return text or None
        plain = text.replace(",", ".") if self.options.decimal == "," else text
        value = float(plain) if _NUMBER.fullmatch(plain) else math.nan
        value = cell.convert(value)
        if not math.isfinite(value):
            self._complain(cell, f"expected a finite number, got {text!r}")
            return None
        if not cell.convert.by_density:
            return value
        at = values.get(cell.spec.density_at or "")
        density = density_kg_m3(at) if isinstance(at, float) else None
        if density is None:
            self._complain(
                cell, f"expected {cell.spec.density_at} within 0 to 180 °C for the density, got {at}"
            )
            return None
        return value / density

    def _complain(self, cell: _Cell, what: str) -> None:
        self.complaints.add(
            f"{self._device} {cell.name}",
            f"{self._device}: {self.options.path}:{self._at.lines + 1}: column {cell.spec.column}: {what}; "
            f"{cell.name} is left out there and wherever else it is none",
            once=True,
        )

    @property
    def fast(self) -> bool:
        """Whether it plays as fast as it goes."""
        return self.options.pace == "fast"

    @property
    def _speed(self) -> float:
        return self.options.pace if isinstance(self.options.pace, float) else 1.0

    def _peek_ms(self, row: _Row) -> int:
        return row.reading.t_ms if row.reading is not None else self._last_ms

    def next_ms(self) -> int | None:
        """Recorded time of the next reading in ms UTC, None at the end."""
        return None if self._next is None else self._peek_ms(self._next)

    def due_ms(self, now_ms: int) -> int:
        """When the next record is to be given, in ms UTC of the clock."""
        if self._anchor is None or self._next is None:
            return now_ms
        clock_ms, recorded_ms = self._anchor
        return clock_ms + math.ceil((self._peek_ms(self._next) - recorded_ms) / self._speed)

    def read(self, now_ms: int) -> Sequence[Reading]:
        """Records due by now, at most 1,000; DriverError for a damaged one, which is then passed over."""
        if self._next is None:
            return []
        until_ms = now_ms
        if not self.fast:
            if self._anchor is None and self._next.error is None:
                self._anchor = (now_ms, self._peek_ms(self._next))
            if self._anchor is not None:
                until_ms = self._anchor[1] + math.floor((now_ms - self._anchor[0]) * self._speed)
        readings: list[Reading] = []
        while (row := self._next) is not None and len(readings) < MAX_ROWS:
            if row.error is not None:
                if readings:
                    break
                self._advance(row)
                raise row.error
            if row.reading is None or row.reading.t_ms > until_ms:
                break
            readings.append(row.reading)
            self._last_ms = row.reading.t_ms
            self._advance(row)
        return readings

    def _advance(self, row: _Row) -> None:
        self._mark = row.mark
        self._next = self._parse()

    @property
    def exhausted(self) -> bool:
        """Whether the file has been read to its end."""
        return self._next is None

    def position(self) -> str:
        """Where it stands, with a checksum of everything before."""
        return json.dumps(self._mark)

    def resume(self, position: str) -> bool:
        """Go on after `position`; False, and from the beginning, if the file was another up to there."""
        try:
            offset, line, crc, row_crc, clock = json.loads(position)
            mark = _Mark(int(offset), int(line), int(crc), int(row_crc), (str(clock[0]), bool(clock[1])))
        except (ValueError, TypeError, IndexError):
            return False
        here = self._file.tell()
        self._file.seek(0)
        seen, left = 0, mark.offset
        while left > 0 and (part := self._file.read(min(left, 1 << 16))):
            seen, left = zlib.crc32(part, seen), left - len(part)
        if left or seen != mark.crc:
            self._file.seek(here)
            return False
        self._clock.restore(mark.clock)
        self._mark = self._at = mark
        self._next = self._parse()
        return True

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def make(device: DeviceConfig, options: dict[str, Any]) -> CsvDriver:
    """Make the driver from the table ``[device.csv]``; ConfigError names what is wrong in it."""
    try:
        checked = Options.model_validate(options)
    except ValidationError as error:
        raise ConfigError(explain(error, "csv")) from error
    return CsvDriver(device.id, checked.model_copy(update={"path": device.base / checked.path}))
