"""What the boxes of trucks say of where they are: noise, outages, stale repeats, zeros and jumps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulator.logistics.chance import normals, uniforms
from simulator.logistics.kinds import Wrong
from simulator.logistics.plan import Gps
from simulator.logistics.roads import EARTH_M
from simulator.logistics.tracks import Tracks

__all__ = ["FAULTS", "Boxes", "Fixes"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

FAULTS: Final = ("", "stale", "stale_years", "zero", "jump")
"""What may be wrong with a fix, by its number."""

_STALE, _YEARS, _ZERO, _JUMP = 1, 2, 3, 4
_STALE_AFTER_S: Final = 600.0  # a standing truck's box falls asleep
_YEAR_MS: Final = 365 * 86_400_000
_JUMP_DEG: Final = 4.5  # 500 km
# Names of chances.
_TRACKED, _SLEEPY, _PHASE, _LINE, _FILL, _OLD, _NULL, _LEAP, _AGE = range(1, 10)
_PLACE, _GAUGE = 20, 21


@dataclass(frozen=True, slots=True)
class Fixes:
    """Fixes, by truck and then in the order in which they were taken; columns of one length.

    Attributes
    ----------
    truck : ndarray of int
        Number of the truck.
    taken_ms, t_ms, sent_ms : ndarray of int
        When the box took it, which time it shows, and when it got away. [ms UTC]
    lat_deg, lon_deg, speed_m_s, heading_deg, load_kg : ndarray
        As shown, rounded.
    fault : ndarray of int
        Index into `FAULTS`.
    """

    truck: Ints
    taken_ms: Ints
    t_ms: Ints
    sent_ms: Ints
    lat_deg: Array
    lon_deg: Array
    speed_m_s: Array
    heading_deg: Array
    load_kg: Array
    fault: Ints


class Boxes:
    """The boxes of all trucks.

    Parameters
    ----------
    tracks : Tracks
    devices : sequence of str or None
        The device of each truck; None: it has none.
    """

    def __init__(
        self, seed: int, gps: Gps, tracks: Tracks, devices: Sequence[str | None], wrongs: Sequence[Wrong]
    ) -> None:
        self._seed, self._gps, self._tracks = seed, gps, tracks
        self.devices = tuple(devices)
        everyone = np.arange(len(devices), dtype=np.int64)
        self.tracked = everyone[np.array([d is not None for d in devices], dtype=bool)]
        self._sleepy = uniforms(seed, _SLEEPY, everyone) < gps.stale_share
        self._step_ms = round(gps.interval_s * 1000)
        self._every = max(1, round(gps.parked_interval_s / gps.interval_s))
        numbers = {d: n for n, d in enumerate(devices) if d is not None}
        self._offline = [(numbers[w.place], w) for w in wrongs if w.kind == "offline" and w.place in numbers]

    def phase_ms(self, truck: Ints) -> Ints:
        """When in its interval a box takes its fix; whole seconds. [ms]."""
        step_s = max(1, self._step_ms // 1000)
        return (uniforms(self._seed, _PHASE, truck) * step_s).astype(np.int64) * 1000

    def between(self, after_ms: int, up_to_ms: int) -> Fixes:
        """The fixes taken in (`after_ms`, `up_to_ms`], by each box at its own time."""
        step, phase = self._step_ms, self.phase_ms(self.tracked)
        first = (after_ms - phase) // step + 1
        count = np.maximum((up_to_ms - phase) // step - first + 1, 0)
        truck = np.repeat(self.tracked, count)
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        number = np.repeat(first, count) + within
        return self._of(truck, number * step + np.repeat(phase, count), number)

    def at(self, t_ms: int) -> Fixes:
        """The fixes of all boxes at one instant."""
        taken = np.full(len(self.tracked), t_ms, dtype=np.int64)
        return self._of(self.tracked, taken, taken // self._step_ms)

    def _of(self, truck: Ints, taken: Ints, number: Ints) -> Fixes:
        gps, step = self._gps, self._step_ms
        where = self._tracks.where(truck, taken / 1000.0)
        # A box takes a fix as the truck comes to a stand, and then seldom.
        first = taken - step < where.since_s * 1000.0
        sent, lost = self._line(truck, taken)
        keep = (where.moving | first | (number % self._every == 0)) & ~lost
        truck, taken, sent = truck[keep], taken[keep], sent[keep]
        moving, since_s = where.moving[keep], where.since_s[keep]
        stale = self._sleepy[truck] & ~moving & (taken / 1000.0 - since_s > _STALE_AFTER_S)
        phase = taken % step
        stood = -((phase - np.ceil(since_s * 1000.0).astype(np.int64)) // step) * step + phase
        shown, fault = np.where(stale, stood, taken), np.where(stale, _STALE, 0)
        columns = (where.lat_deg, where.lon_deg, where.speed_m_s, where.load_kg, where.heading_deg)
        lat, lon, speed, load, heading = (column[keep] for column in columns)
        if stale.any():  # the very fix that was sent when it came to a stand
            then = self._tracks.where(truck[stale], stood[stale] / 1000.0)
            lat[stale], lon[stale], load[stale] = then.lat_deg, then.lon_deg, then.load_kg
            heading[stale] = then.heading_deg
        years = stale & (uniforms(self._seed, _OLD, truck, stood) < gps.stale_years_share)
        age = 1 + (2.0 * uniforms(self._seed, _AGE, truck, stood)).astype(np.int64)
        shown[years] -= (age * _YEAR_MS)[years]
        lat, lon = np.where(years, lat - 0.03, lat), np.where(years, lon + 0.05, lon)
        fault[years] = _YEARS
        north, east = normals(self._seed, _PLACE, truck, shown)
        pace, weigh = normals(self._seed, _GAUGE, truck, shown)
        lat = lat + np.degrees(gps.noise_m * north / EARTH_M)
        lon = lon + np.degrees(gps.noise_m * east / (EARTH_M * np.cos(np.radians(lat))))
        zero = ~stale & (uniforms(self._seed, _NULL, truck, taken) < gps.zero_share)
        leap = ~stale & ~zero & (uniforms(self._seed, _LEAP, truck, taken) < gps.jump_share)
        fault[zero], fault[leap] = _ZERO, _JUMP
        lat, lon = np.where(zero, 0.0, lat + _JUMP_DEG * leap), np.where(zero, 0.0, lon)
        return Fixes(
            truck, taken, shown, sent, lat.round(6), lon.round(6),
            np.where(moving, np.maximum(speed + 0.2 * pace, 0.0), 0.0).round(2), heading.round(1) % 360.0,
            np.maximum(load + 150.0 * weigh, 0.0).round(0), fault,
        )  # fmt: skip

    def _line(self, truck: Ints, taken: Ints) -> tuple[Ints, Mask]:
        """When each fix gets away, and which never does."""
        gps, block_ms = self._gps, round(self._gps.outage_s * 1000)
        block = taken // block_ms
        down = self.down(truck, block)
        lost = down & (uniforms(self._seed, _FILL, truck, block) >= gps.backfill_share)
        back, still = block + 1, down & ~lost
        for _ in range(8):  # until the line is back
            still = still & self.down(truck, back)
            back = back + still
        sent = np.where(down, np.maximum(back * block_ms, taken), taken)
        for number, wrong in self._offline:
            lost = lost | ((truck == number) & (taken >= wrong.onset_ms) & (taken < wrong.until_ms))
        return sent, lost

    def down(self, truck: Ints, block: Ints) -> Mask:
        """Whether a box has no line in a block of `outage_s`."""
        mask: Mask = uniforms(self._seed, _LINE, truck, block) < self._gps.outage_share
        return mask

    def outages(self, after_ms: int, up_to_ms: int) -> list[tuple[str, int, int, bool]]:
        """Blocks without a line that begin in [`after_ms`, `up_to_ms`): device, from, until, back-filled."""
        block_ms = round(self._gps.outage_s * 1000)
        found = []
        for block in range(-(-after_ms // block_ms), -(-up_to_ms // block_ms)):
            at = np.full(len(self.tracked), block)
            filled = uniforms(self._seed, _FILL, self.tracked, at) < self._gps.backfill_share
            for n in np.flatnonzero(self.down(self.tracked, at)).tolist():
                device = self.devices[int(self.tracked[n])]
                found.append((str(device), block * block_ms, (block + 1) * block_ms, bool(filled[n])))
        return found
