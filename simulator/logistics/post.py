"""Events on their way from a device: what is late, doubled, missing, swapped or wrong on paper."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from simulator.logistics.kinds import Wrong
from simulator.logistics.plan import Disorder
from simulator.rng import generator

__all__ = ["Disordered", "Event", "Post"]

Values = Mapping[str, float | str]

_KINDS: Final = (
    "late", "duplicate", "missing", "swapped", "mislabelled", "reused", "unknown_plate", "unknown_contract",
    "untagged",
)  # fmt: skip
_OTHER: Final = {"tare": "gross", "gross": "tare"}
_BROUGHT_IN_MS: Final = 300_000  # what is live comes first: a demo shows something while this is read
_KEPT_MS: Final = 3 * 86_400_000  # times of a device are told apart for so long


@dataclass(frozen=True, slots=True)
class Event:
    """One sample of a device that reports events.

    Attributes
    ----------
    t_ms, sent_ms : int
        The time it shows, and when it leaves the device. [ms UTC]
    """

    t_ms: int
    sent_ms: int
    device: str
    values: Values


@dataclass(frozen=True, slots=True)
class Disordered:
    """One ticket, or one result of a laboratory, that did not come as it should.

    Attributes
    ----------
    kind : str
    name : str
        The ticket, or the lot.
    """

    kind: str
    name: str
    device: str
    t_ms: int


class Post:
    """Takes events as they happen and gives them as they leave.

    Parameters
    ----------
    start_ms : int
        When the run begins. [ms UTC]
    earlier : bool
        Whether what happened before that is told too, all of it five minutes after the begin.

    Attributes
    ----------
    disordered : list of Disordered
    sent : int
        Events given so far.
    """

    def __init__(
        self,
        seed: int,
        start_ms: int,
        disorder: Disorder,
        wrongs: tuple[Wrong, ...],
        devices: set[str],
        *,
        earlier: bool = False,
    ) -> None:
        self._earlier = earlier
        self._seed, self._start_ms, self._disorder, self._devices = seed, start_ms, disorder, devices
        self._offline = [w for w in wrongs if w.kind == "offline"]
        self._heap: list[tuple[int, int, Event]] = []
        self._count = self.sent = 0
        self._used: dict[str, set[int]] = {}
        self._first: dict[str, Event] = {}
        self._noted: set[str] = set()
        self.disordered: list[Disordered] = []

    def free_ms(self, device: str, t_ms: int) -> int:
        """A time of `device` at or after `t_ms` that it has not used: a sample's time names it. [ms]."""
        used = self._used.setdefault(device, set())
        while t_ms in used:
            t_ms += 1
        used.add(t_ms)
        return t_ms

    def send(self, device: str, t_ms: int, values: Values, sent_ms: int | None = None) -> None:
        """An event that happens at `t_ms`; what happened before the start is told only as earlier papers."""
        sent = t_ms if sent_ms is None else sent_ms
        if device not in self._devices or self._untold(sent):
            return
        if sent < self._start_ms:
            sent = self._start_ms + _BROUGHT_IN_MS
        for wrong in self._offline:
            if wrong.place == device and wrong.onset_ms <= sent < wrong.until_ms:
                sent = wrong.until_ms
        self._count += 1
        heapq.heappush(self._heap, (sent, self._count, Event(t_ms, sent, device, values)))

    def weighing(self, device: str, t_ms: int, values: Values, sent_ms: int) -> None:
        """A weighing; its ticket may be one of those that do not come as they should."""
        ticket = str(values["ticket"])
        kind, draw = self._fate(ticket)
        if self._untold(sent_ms):
            return
        if kind and ticket not in self._noted:
            self._noted.add(ticket)
            self.disordered.append(Disordered(kind, ticket, device, t_ms))
        if kind == "swapped":
            self._swap(ticket, Event(t_ms, sent_ms, device, values))
        elif kind == "late":
            self.send(device, t_ms, values, sent_ms + round(self._disorder.late_h * 3_600_000 * draw))
        elif kind != "missing":
            self.send(device, t_ms, _altered(kind, values), sent_ms)
        if kind == "duplicate":
            self.send(device, t_ms, values, sent_ms + 45_000)
        elif kind == "reused":
            other = {**values, "mass_kg": float(values["mass_kg"]) + round(200 * (draw - 0.5)) * 20.0}
            again_ms = self.free_ms(device, t_ms + 120_000)
            self.send(device, again_ms, other, sent_ms + 120_000)

    def _untold(self, sent_ms: int) -> bool:
        return sent_ms < self._start_ms and not self._earlier

    def _swap(self, ticket: str, event: Event) -> None:
        """Hold a ticket's first weighing until the second has left."""
        first = self._first.pop(ticket, None)
        if first is None:
            self._first[ticket] = event
            return
        self.send(event.device, event.t_ms, event.values, event.sent_ms)
        self.send(first.device, first.t_ms, first.values, event.sent_ms + 60_000)

    def _fate(self, ticket: str) -> tuple[str, float]:
        """What befalls a ticket, and a draw for how much."""
        d = self._disorder
        shares = (
            d.late_share, d.duplicate_share, d.missing_share, d.swapped_share, d.mislabelled_share,
            d.reused_share, d.unknown_plate_share, d.unknown_contract_share, d.untagged_share,
        )  # fmt: skip
        if not any(shares):
            return "", 0.0
        draws = generator(self._seed, "fate", crc32(ticket.encode())).random(2)
        left = float(draws[0])
        for kind, share in zip(_KINDS, shares, strict=True):
            if left < share:
                return kind, float(draws[1])
            left -= share
        return "", 0.0

    def result(self, device: str, t_ms: int, values: dict[str, float | str]) -> None:
        """A laboratory's result."""
        name = f"{values['lot']} {values.get('ticket', '')} {values['end']}"
        share = self._disorder.bad_moisture_share
        if share and generator(self._seed, "result", crc32(name.encode())).random() < share:
            values = {**values, "moisture_pct": 130.0}
            self.disordered.append(Disordered("bad_moisture", str(values["lot"]), device, t_ms))
        self.send(device, t_ms, values)

    def due(self, up_to_ms: int) -> list[Event]:
        """Events that have left by `up_to_ms`, in that order; each once."""
        events = []
        while self._heap and self._heap[0][0] <= up_to_ms:
            events.append(heapq.heappop(self._heap)[2])
        self.sent += len(events)
        return events

    def rest(self, until_ms: int) -> list[Event]:
        """What happened by `until_ms` and has not left yet, as it leaves afterwards."""
        for event in self._first.values():  # the second weighing never came
            self.send(event.device, event.t_ms, event.values, event.sent_ms)
        self._first.clear()
        return [event for _, _, event in sorted(self._heap, key=lambda e: e[:2]) if event.t_ms <= until_ms]

    def forget(self, before_ms: int) -> None:
        """Let go of what only matters to times long past."""
        limit = before_ms - _KEPT_MS
        for device, used in self._used.items():
            self._used[device] = {t for t in used if t >= limit}


def _altered(kind: str, values: Values) -> Values:
    """A weighing as a faulty bridge says it."""
    if kind == "mislabelled":
        return {**values, "step": _OTHER[str(values["step"])]}
    if kind == "unknown_plate":
        return {**values, "plate": f"{str(values['plate'])[:-1]}?"}
    if kind == "unknown_contract":
        return {**values, "contract": f"{values['contract']}-X"}
    if kind == "untagged":
        return {k: v for k, v in values.items() if k != "tag"}
    return values
