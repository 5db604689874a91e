"""Anything that answers HTTP with JSON: polled, read by JSON pointers (RFC 6901); weather services too.

One document is one reading, or many: `rows` points to a list of objects, or, with `columns = true`, every
pointer leads to a list and all lists are read side by side. JSON has no checksum: TCP's, and TLS, guard
its bytes; a document cut off anywhere is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from edge.config import ConfigError, DeviceConfig, is_loopback
from edge.driver import DriverError, Reading
from edge.http_call import Caller
from edge.json_document import parse, point_to
from edge.live import Live, Point, Table, check_units, checked, convert, in_time
from edge.say import Complaints

__all__ = ["HttpJsonDriver", "Options", "Row", "decode", "decode_ahead", "make"]

_HOUR_MS: Final = 3_600_000
AHEAD_MS: Final = 600_000  # beyond it the server takes nothing


class Value(Point):
    """Where one measurement lies in the document, or in a row of it."""

    pointer: Annotated[str, Field(pattern=r"^(/.*)?$")]
    text: bool = False


class Time(Table):
    """Where the time of a reading lies, and how it is written; without an offset it is UTC."""

    pointer: Annotated[str, Field(pattern=r"^(/.*)?$")]
    format: Literal["iso", "unix_s", "unix_ms"] = "iso"


class Forecast(Point):
    """A list of forecasts and the list of the times that they are for."""

    pointer: Annotated[str, Field(pattern=r"^(/.*)?$")]
    time: Time
    hours: Annotated[int, Field(ge=1, le=72)] = 72


class Options(Table):
    """The table ``[device.http_json]``.

    Attributes
    ----------
    url : str
        ``http://`` or ``https://``; no password in it.
    headers : dict
        Sent along.
    token_file : path or None
        A file with a secret that is sent as ``Authorization: Bearer``.
    rows, columns
        See the module.
    time : Time or None
        None: the time of the call.
    values : dict
        Measurement to pointer.
    forecast : dict
        Name with ``{h}`` for the hours ahead (``outdoor_{h}h_c``) to a forecast as issued now.
    private_network : bool
        That a secret may be sent in plain.
    """

    url: str
    headers: dict[str, str] = Field(default_factory=dict)
    token_file: Path | None = None
    timeout_s: Annotated[float, Field(gt=0, le=120)] = 10.0
    max_bytes: Annotated[int, Field(ge=1, le=64_000_000)] = 1_000_000
    rows: Annotated[str, Field(pattern=r"^(/.*)?$")] | None = None
    columns: bool = False
    time: Time | None = None
    values: dict[str, Value] = Field(default_factory=dict)
    forecast: dict[str, Forecast] = Field(default_factory=dict)
    private_network: bool = False

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("expected http://HOST/... or https://HOST/...")
        if parts.password is not None:
            raise ValueError("expected no password in the URL: set token_file")
        return url

    @model_validator(mode="after")
    def _fits(self) -> Options:
        secret = self.token_file is not None or "authorization" in map(str.lower, self.headers)
        plain = self.url.startswith("http://") and not is_loopback(urlsplit(self.url).hostname or "")
        if secret and plain and not self.private_network:
            raise ValueError(
                f"expected https:// where a secret is sent, got {self.url.partition('?')[0]}: "
                "in a closed network say private_network = true"
            )
        if not self.values and not self.forecast:
            raise ValueError("expected values or forecast, got neither")
        if (self.rows is not None or self.columns) and self.time is None:
            raise ValueError("expected time with rows or columns: many readings differ by their time")
        if self.rows is not None and self.columns:
            raise ValueError("expected rows or columns, got both")
        check_units({n: v for n, v in self.values.items() if not v.text})
        for name, spec in self.forecast.items():
            if "{h}" not in name:
                raise ValueError(f"forecast: expected a name with {{h}}, got {name!r}")
            check_units({name.format(h=1): spec})
        return self


class Row(NamedTuple):
    """One reading, without a time where the call's counts, and what of it could not be read."""

    t_ms: int | None
    values: dict[str, float | str]
    faults: list[tuple[str, str]]


def _expect(is_so: bool, what: str, got: Any) -> None:
    if not is_so:
        raise ValueError(f"expected {what}, got {got!r:.60}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _t_ms(value: Any, how: str) -> int:
    if how == "iso":
        _expect(isinstance(value, str), "a time", value)
        at = datetime.fromisoformat(value)
        return in_time(round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000))
    _expect(_is_number(value), f"a time in {how}", value)
    return in_time(round(value * (1000 if how == "unix_s" else 1)))


def _value(name: str, spec: Value | Forecast, raw: Any) -> float | str | None:
    if raw is None:
        return None
    if isinstance(spec, Value) and spec.text:
        _expect(isinstance(raw, str), "text", raw)
        return str(raw)
    _expect(_is_number(raw), "a number", raw)
    return convert(name, spec, float(raw))


def _read_row(fetch: Callable[[str], Any], options: Options) -> Row:
    faults: list[tuple[str, str]] = []
    values: dict[str, float | str] = {}
    for name, spec in options.values.items():
        try:
            value = _value(name, spec, fetch(spec.pointer))
        except (LookupError, ValueError, OverflowError) as error:
            faults.append((f"{name} unreadable", f"{name}: {error}"))
            continue
        if value is not None:
            values[name] = value
    t_ms = None
    if options.time is not None:
        try:
            t_ms = _t_ms(fetch(options.time.pointer), options.time.format)
        except (LookupError, ValueError, OverflowError) as error:
            faults.append(("time unreadable", f"time: {error}; the reading is left out"))
            values = {}
    return Row(t_ms, values, faults)


def _rows(document: Any, options: Options) -> list[Callable[[str], Any]]:
    """For each reading that a document holds, what its pointers lead to."""
    if options.rows is not None:
        found = point_to(document, options.rows)
        if not isinstance(found, list):
            raise LookupError(f"expected {options.rows} to be a list, got {found!r:.40}")
        return [partial(point_to, row) for row in found]
    if not options.columns or options.time is None:
        return [partial(point_to, document)] if options.values else []
    pointers = [options.time.pointer, *(spec.pointer for spec in options.values.values())]
    lists = {pointer: point_to(document, pointer) for pointer in pointers}
    for pointer, found in lists.items():
        if not isinstance(found, list) or len(found) != len(lists[pointers[0]]):
            raise LookupError(f"expected {pointer} to be a list as long as {pointers[0]}")
    across = zip(*lists.values(), strict=True)
    return [dict(zip(lists, row, strict=True)).__getitem__ for row in across]


def decode_ahead(body: bytes, options: Options, now_ms: int) -> Row:
    """Forecasts as issued at the full hour before now, for the full hours from there on; RecordError."""
    faults: list[tuple[str, str]] = []
    values: dict[str, float | str] = {}
    issued_ms = now_ms // _HOUR_MS * _HOUR_MS
    document = parse(body)
    for name, spec in options.forecast.items():
        try:
            times, numbers = point_to(document, spec.time.pointer), point_to(document, spec.pointer)
            if not isinstance(times, list) or not isinstance(numbers, list) or len(times) != len(numbers):
                raise LookupError(
                    f"expected {spec.pointer} and {spec.time.pointer} to be lists of one length"
                )
            for at, number in zip(times, numbers, strict=True):
                hours, rest = divmod(_t_ms(at, spec.time.format) - issued_ms, _HOUR_MS)
                if rest == 0 and 1 <= hours <= spec.hours:
                    value = _value(name.format(h=hours), spec, number)
                    values |= {} if value is None else {name.format(h=hours): value}
        except (LookupError, ValueError, OverflowError) as error:
            faults.append((f"{name} unreadable", f"{name}: {error}"))
    return Row(issued_ms, values, faults)


def decode(body: bytes, options: Options) -> list[Row]:
    """Read one document.

    Raises
    ------
    RecordError
        If it is cut off or no JSON.
    DriverError
        If its rows are not where they should be.
    """
    document = parse(body)
    try:
        return [_read_row(fetch, options) for fetch in _rows(document, options)]
    except LookupError as error:
        raise DriverError(str(error.args[0])) from error


class HttpJsonDriver(Live):
    """Polls one address.

    Parameters
    ----------
    device : str
        Name for messages.
    options : Options
        With absolute paths.
    complaints : Complaints, optional
        Told of values that cannot be read.
    """

    def __init__(self, device: str, options: Options, complaints: Complaints | None = None):
        super().__init__(device, complaints)
        self.options = options
        headers = {"Accept": "application/json", **options.headers}
        if options.token_file is not None:
            try:
                token = options.token_file.read_text(encoding="utf-8").strip()
            except OSError as error:
                raise ConfigError(f"http_json: token_file: expected a readable file, got: {error}") from error
            headers["Authorization"] = f"Bearer {token}"
        self._caller = Caller(options.url, headers, options.timeout_s, options.max_bytes)
        self._newest_ms = -1
        self._ahead: Row | None = None

    def read(self, now_ms: int) -> Sequence[Reading]:
        """Poll once; rows that are not newer than those of the last call are left out."""
        body = self._caller.get()
        rows = decode(body, self.options)
        self._mind_clock([row.t_ms for row in rows if row.t_ms is not None], now_ms)
        fresh = [row for row in rows if row.values and (row.t_ms is None or row.t_ms > self._newest_ms)]
        self._newest_ms = max([self._newest_ms, *(row.t_ms for row in fresh if row.t_ms is not None)])
        if self.options.forecast:
            ahead = decode_ahead(body, self.options, now_ms)
            rows.append(ahead)
            if ahead.values and ahead != self._ahead:
                fresh.append(ahead)
                self._ahead = ahead
        for row in rows:
            for kind, what in row.faults:
                self.complain(kind, what)
        return [Reading(now_ms if row.t_ms is None else row.t_ms, row.values) for row in fresh]

    def _mind_clock(self, times: Sequence[int], now_ms: int) -> None:
        """Go on with a device whose clock was in the future once: all that it says now is older than that."""
        if times and max(times) < self._newest_ms and self._newest_ms > now_ms + AHEAD_MS:
            self.complain(
                "clock", f"expected times after {self._newest_ms}, got {max(times)}: it was set back"
            )
            self._newest_ms = max(times) - 1

    def close(self) -> None:
        """Nothing is held between calls."""


def make(device: DeviceConfig, options: dict[str, Any]) -> HttpJsonDriver:
    """Make the driver from the table ``[device.http_json]``."""
    given = checked(Options, options, "http_json")
    if given.token_file is not None:
        given = given.model_copy(update={"token_file": device.base / given.token_file})
    return HttpJsonDriver(device.id, given)
