"""Messages of trucks, bridges, laboratories, offices and yards, in columns and in the order of receipt."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models import wire
from models.site import Device, Site
from simulator.logistics.boxes import Fixes
from simulator.logistics.chance import uniforms
from simulator.logistics.post import Event
from simulator.rng import generator
from simulator.telemetry import MESSAGE_SCHEMA

__all__ = ["Wire"]

Ints = NDArray[np.int64]

_COLLECTOR: Final = "hearthline-simulator"
_EVENT_INTERVAL_S: Final = 60.0
_TRIP_MS: Final = (50, 400)  # least delay of the line, and how much it varies
_AGAIN_MS: Final = 30_000
_DELAY, _LATE, _HELD, _TWICE = range(40, 44)  # names of chances


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Wire:
    """Numbers and delays the messages of the devices of coal on the road.

    Parameters
    ----------
    trucks : sequence of str or None
        Device of each truck, by its number.
    fixes_a_message : int
    duplicate_share, late_share, late_s
        Share of messages that are received twice, and held back for `late_s` at most.
    """

    def __init__(
        self,
        site: Site,
        devices: Iterable[str],
        trucks: tuple[str | None, ...],
        seed: int,
        start_ms: int,
        *,
        fixes_a_message: int = 1,
        duplicate_share: float = 0.0,
        late_share: float = 0.0,
        late_s: float = 300.0,
    ) -> None:
        self._site, self._seed, self.boot = site, seed, start_ms
        self.devices = tuple(devices)
        self._group = max(1, fixes_a_message)
        self._twice, self._late, self._late_ms = duplicate_share, late_share, late_s * 1000.0
        self._rng = generator(seed, "coal line")
        self._next = dict.fromkeys(self.devices, 1)
        self._truck_next: Ints = np.ones(len(trucks), dtype=np.int64)
        self._trucks = trucks
        self._topics = pa.array([self._topic(d, wire.TELEMETRY) if d else "" for d in trucks], pa.string())
        self._waiting = MESSAGE_SCHEMA.empty_table()
        self.last_ms = start_ms

    def _topic(self, name: str, kind: str) -> str:
        device: Device = self._site.devices[name]
        return str(wire.Topic(self._site.region_of(device), device.unit, name, kind))

    def births(self) -> pa.Table:
        """What every device is, said as the run begins."""
        rows = []
        for name in self.devices:
            device = self._site.devices[name]
            payload = {
                "boot": self.boot, "at": self.boot, "class": device.device_class,
                "interval_s": device.interval_s or _EVENT_INTERVAL_S, "collector": _COLLECTOR,
            }  # fmt: skip
            rows.append((self._topic(name, wire.BIRTH), _text(payload), self.boot + 20))
        return _table(rows)

    def states(self) -> pa.Table:
        """What every device has sent, said when all has been received."""
        at_ms, rows = self.last_ms + 1_000, []
        numbers = {d: int(self._truck_next[n]) for n, d in enumerate(self._trucks) if d}
        for name in self.devices:
            payload = {
                "boot": self.boot, "at": at_ms, "next_seq": numbers.get(name, self._next[name]),
                "waiting": [], "thinned": [],
            }  # fmt: skip
            rows.append((self._topic(name, wire.STATE), _text(payload), at_ms))
        return _table(rows)

    def received(self, events: Iterable[Event], fixes: Fixes | None, up_to_ms: int | None) -> pa.Table:
        """Take what was sent, and give what has been received by `up_to_ms`; all with None."""
        parts = [self._waiting, self._events(events)]
        if fixes is not None and len(fixes.truck):
            parts.append(self._fixes(fixes))
        whole = pa.concat_tables(parts)
        received = whole["received_ms"].to_numpy()
        order = np.argsort(received, kind="stable")
        count = len(order) if up_to_ms is None else int(np.searchsorted(received[order], up_to_ms, "right"))
        if len(order):
            self.last_ms = max(self.last_ms, int(received[order[-1]]))
        self._waiting = whole.take(pa.array(order[count:]))
        return whole.take(pa.array(order[:count]))

    def _events(self, events: Iterable[Event]) -> pa.Table:
        rows = []
        for event in events:
            seq = self._next[event.device]
            self._next[event.device] = seq + 1
            payload = {"boot": self.boot, "seq": seq, "samples": [{"t": event.t_ms, **event.values}]}
            draws = self._rng.random(4).tolist()
            at_ms = event.sent_ms + _TRIP_MS[0] + int(_TRIP_MS[1] * draws[0])
            if draws[1] < self._late:
                at_ms += int(self._late_ms * draws[2])
            row = (self._topic(event.device, wire.TELEMETRY), _text(payload), at_ms)
            rows.append(row)
            if draws[3] < self._twice:
                rows.append((*row[:2], at_ms + _AGAIN_MS))
        return _table(rows)

    def _fixes(self, fixes: Fixes) -> pa.Table:
        """Several fixes of a truck make a message."""
        order = np.lexsort((fixes.taken_ms, fixes.sent_ms, fixes.truck))
        truck, sent = fixes.truck[order], fixes.sent_ms[order]
        begins = np.flatnonzero(np.concatenate([[True], truck[1:] != truck[:-1]]))
        within = np.arange(len(truck)) - np.repeat(begins, np.diff(np.append(begins, len(truck))))
        first = np.flatnonzero(within % self._group == 0)
        last = np.append(first[1:], len(truck)) - 1
        owner = truck[first]
        seq = self._truck_next[owner] + within[first] // self._group
        self._truck_next[owner] = np.maximum.reduceat(seq, _starts(owner)).repeat(_counts(owner)) + 1
        samples = _samples(fixes, order)
        lists = pa.ListArray.from_arrays(pa.array(np.append(first, len(truck)), pa.int32()), samples)
        head = f'{{"boot":{self.boot},"seq":'
        payload = pc.binary_join_element_wise(
            head, pa.array(seq).cast(pa.string()), ',"samples":[', pc.binary_join(lists, ","), "]}", ""
        )
        at = sent[last] + _TRIP_MS[0]
        at = at + (_TRIP_MS[1] * uniforms(self._seed, _DELAY, owner, seq)).astype(np.int64)
        if self._late:
            late = uniforms(self._seed, _LATE, owner, seq) < self._late
            at = at + (late * self._late_ms * uniforms(self._seed, _HELD, owner, seq)).astype(np.int64)
        table = pa.Table.from_arrays(
            [self._topics.take(pa.array(owner)), payload, pa.array(at)], schema=MESSAGE_SCHEMA
        )
        if not self._twice:
            return table
        again = np.flatnonzero(uniforms(self._seed, _TWICE, owner, seq) < self._twice)
        twin = table.take(pa.array(again)).set_column(
            2, MESSAGE_SCHEMA.field("received_ms"), pa.array(at[again] + _AGAIN_MS)
        )
        return pa.concat_tables([table, twin])


def _starts(owner: Ints) -> Ints:
    return np.flatnonzero(np.concatenate([[True], owner[1:] != owner[:-1]]))


def _counts(owner: Ints) -> Ints:
    return np.diff(np.append(_starts(owner), len(owner)))


def _samples(fixes: Fixes, order: Ints) -> pa.Array:
    """Each fix as the text of one sample."""
    parts: list[Any] = ['{"t":', pa.array(fixes.t_ms[order]).cast(pa.string())]
    for name in ("lat_deg", "lon_deg", "speed_m_s", "heading_deg", "load_kg"):
        column = getattr(fixes, name)[order] + 0.0  # no negative zero
        parts += [f',"{name}":', pa.array(column).cast(pa.string())]
    return pc.binary_join_element_wise(*parts, "}", "")


def _table(rows: list[tuple[str, str, int]]) -> pa.Table:
    topic, payload, received = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table([list(topic), list(payload), list(received)], schema=MESSAGE_SCHEMA)
