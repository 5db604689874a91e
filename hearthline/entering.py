"""What people enter by hand: each entry is a message of the unit's office, and so a frame in the journal."""

from __future__ import annotations

import json
import math
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from dashboards.api import ActionRefusedError
from ingest.decode import Decoder
from ingest.messages import ClockMode, Message
from ingest.service import Ingest
from journal.protocol import Journal, JournalError
from models.site import Device, Site
from models.wording import listed, worded

__all__ = ["Entries"]

_WATER: Final = ("flush", "fill", "drain", "draw")
_STEPS: Final = ("tare", "gross")
_AHEAD_MS: Final = 60_000
_LONGEST: Final = 500
_MOST: Final = {"volume_m3": 100_000.0, "stock_t": 10_000_000.0, "mass_kg": 1_000_000.0}
"""More than any network holds, any yard, any truck: a slip of the keys, which nobody could take back."""
_WANTED: Final = {
    "who": worded("who: expected the name of a person, got none"),
    "ticket": worded("ticket: expected a ticket's number, got none"),
    "note": worded("note: expected the reason, got none"),
}


@dataclass(frozen=True, slots=True)
class _Entry:
    unit: str
    t_ms: int
    values: dict[str, Any]


class Entries:
    """Takes in what people enter.

    Parameters
    ----------
    site, journal, ingest
        Of the running server.
    clock : callable
        The site's now. [ms UTC]
    clock_mode : ClockMode
    """

    def __init__(
        self, site: Site, journal: Journal, ingest: Ingest, clock: Callable[[], int], clock_mode: ClockMode
    ):
        self._site = site
        self._journal = journal
        self._ingest = ingest
        self._clock = clock
        self._clock_mode = clock_mode
        self._decoder = Decoder(site)
        self._lock = threading.Lock()
        self._next: dict[str, tuple[int, int]] = {}

    def enter(self, asked: Mapping[str, Any]) -> str:
        """Enter `asked` and give its reference.

        `asked` holds ``event``, ``who`` and ``unit``; ``at`` (local time of the site, now when empty);
        for water ``network`` and ``volume_m3``, for a survey ``stock_t``, for a correction ``ticket``,
        ``step``, ``note`` and what holds instead: ``mass_kg``, ``plate`` or ``contract``.

        Raises
        ------
        ActionRefusedError
            What was expected and what came, or why it cannot be journalled now.
        """
        entry = self._read(asked)
        office = self._office(entry)
        region = self._site.region_of(office)
        topic = f"hearthline/v1/{region}/{office.unit}/{office.device}/telemetry"
        ref = f"board-{uuid.uuid4().hex[:12]}"
        now_ms = self._clock()
        with self._lock:
            boot, seq = self._next.get(office.device, (now_ms, 1))
            sample = {"t": entry.t_ms, "ref": ref, **entry.values}
            payload = json.dumps({"boot": boot, "seq": seq, "samples": [sample]}, ensure_ascii=False)
            message = Message(topic, payload.encode(), retained=False, received_ms=now_ms)
            tried = self._decoder.decode(
                [message], mode=self._clock_mode, wall_ms=now_ms, now_ms=self._stream_times()
            )
            if tried.refused:
                reasons = listed(worded(str(reason)) for reason in tried.refused)
                raise ActionRefusedError(worded("it would be refused: {reasons}", reasons=reasons))
            try:
                self._ingest.submit([message])
            except JournalError as error:
                raise ActionRefusedError(
                    worded("it cannot be journalled now: {why}", why=str(error))
                ) from error
            self._next[office.device] = (boot, seq + 1)
        return ref

    def _office(self, entry: _Entry) -> Device:
        """The office of the entry's unit; of several the one in the stream where the entry is looked for.

        One elsewhere would journal it, and nothing would ever follow from it.
        """
        devices = [d for _, d in sorted(self._site.devices.items())]
        offices = [d for d in devices if d.device_class == "office" and d.unit == entry.unit]
        if not offices:
            raise ActionRefusedError(
                worded(
                    "unit: expected one with a device of class office in the registry, got {got}",
                    got=repr(entry.unit),
                )
            )
        if "ticket" in entry.values:
            streams = {d.stream for d in devices if d.device_class == "weighbridge"}
        elif "network" in entry.values:
            streams = {d.stream for d in devices if d.network == entry.values["network"]}
        else:
            streams = {self._site.stream_of_unit(entry.unit)} - {""}
        office = min(offices, key=lambda d: d.stream not in streams)
        if "ticket" in entry.values and office.stream not in streams:  # another unit's may know the bridges
            office = next((d for d in devices if d.device_class == "office" and d.stream in streams), office)
        if streams and office.stream not in streams:
            raise ActionRefusedError(
                worded(
                    "unit: expected an office in stream {among}, where it is looked for, got {got}",
                    among=", ".join(sorted(streams)), got=f"{office.device} ({office.stream})",
                )
            )  # fmt: skip
        return office

    def _stream_times(self) -> dict[str, int]:
        return {stream: ms for stream, (_, ms) in self._journal.streams().items()}

    def _read(self, asked: Mapping[str, Any]) -> _Entry:
        """The entry that `asked` describes, checked."""
        event = _text(asked, "event")
        values: dict[str, Any] = {"event": event, "person": _wanted(asked, "who")}
        if note := _text(asked, "note"):
            values["note"] = note
        if event in _WATER:
            network = self._site.networks.get(_text(asked, "network"))
            if network is None:
                raise _not_among("network", sorted(self._site.networks), _text(asked, "network"))
            values |= {"network": network.id, "volume_m3": _amount(asked, "volume_m3", "m³")}
            unit = network.unit
        elif event == "survey":
            values["stock_t"] = _amount(asked, "stock_t", "t", zero=True)
            unit = self._unit(asked)
        elif event == "correct":
            values |= _correction(asked)
            unit = self._unit(asked)
        else:
            raise _not_among("event", (*_WATER, "survey", "correct"), event)
        return _Entry(unit, self._time(asked), values)

    def _unit(self, asked: Mapping[str, Any]) -> str:
        unit = _text(asked, "unit")
        if unit not in self._site.units:
            raise _not_among("unit", sorted(self._site.units), unit)
        return unit

    def _time(self, asked: Mapping[str, Any]) -> int:
        """When it happened. [ms UTC]"""
        text, now_ms = _text(asked, "at"), self._clock()
        if not text:
            return now_ms
        try:
            at = datetime.fromisoformat(text)
            at_ms = round(
                (at if at.tzinfo else at.replace(tzinfo=ZoneInfo(self._site.timezone))).timestamp() * 1000
            )
        except (ValueError, OverflowError) as error:
            raise ActionRefusedError(
                worded("at: expected a time such as 2026-01-31T08:30, got {got}", got=repr(text))
            ) from error
        if at_ms > now_ms + _AHEAD_MS:
            raise ActionRefusedError(worded("at: expected a time that has come, got {got}", got=repr(text)))
        return at_ms


def _correction(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What holds of a ticket's weighing instead of what was weighed."""
    step = _text(asked, "step")
    if step not in _STEPS:
        raise _not_among("step", _STEPS, step)
    found: dict[str, Any] = {"ticket": _wanted(asked, "ticket"), "step": step}
    _wanted(asked, "note")
    if asked.get("mass_kg") not in (None, ""):
        found["mass_kg"] = _amount(asked, "mass_kg", "kg")
    found |= {name: _text(asked, name) for name in ("plate", "contract") if _text(asked, name)}
    if len(found) == 2:
        raise ActionRefusedError(
            worded("mass, plate, contract: expected at least one that holds instead, got none")
        )
    return found


def _text(asked: Mapping[str, Any], name: str) -> str:
    value = asked.get(name)
    text = "" if value is None else str(value).strip()
    if len(text) > _LONGEST:
        raise ActionRefusedError(
            worded(
                "{name}: expected at most {most} characters, got {n}",
                name=worded(name), most=str(_LONGEST), n=str(len(text)),
            )
        )  # fmt: skip
    return text


def _wanted(asked: Mapping[str, Any], name: str) -> str:
    text = _text(asked, name)
    if not text:
        raise ActionRefusedError(_WANTED[name])
    return text


def _not_among(name: str, expected: Iterable[str], got: str) -> ActionRefusedError:
    among = ", ".join(expected)
    if not among:
        return ActionRefusedError(worded("{name}: this site has none", name=worded(name)))
    return ActionRefusedError(
        worded("{name}: expected one of {among}, got {got}", name=worded(name), among=among, got=repr(got))
    )


def _amount(asked: Mapping[str, Any], name: str, unit: str, *, zero: bool = False) -> float:
    """A positive number; with `zero` also 0."""
    value = asked.get(name)
    try:
        number = math.nan if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
        came = {"name": worded(name), "unit": unit, "got": repr(str(value)[:40]) if value else worded("none")}
        raise ActionRefusedError(
            worded("{name}: expected 0 or more {unit}, got {got}", **came)
            if zero
            else worded("{name}: expected more than 0 {unit}, got {got}", **came)
        )
    if number > (most := _MOST[name]):
        what = {"name": worded(name), "most": f"{most:,.0f}", "unit": unit, "got": repr(str(value)[:40])}
        raise ActionRefusedError(worded("{name}: expected at most {most} {unit}, got {got}", **what))
    return number
