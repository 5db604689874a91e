"""What goes wrong in a case, done to the truth, to the meters or on the way."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

from edge.driver import Reading
from simulator import water
from simulator.clocks import Clocks
from simulator.kinds import Fault
from simulator.metering import MeterFaults
from simulator.meters import HeatMeters
from simulator.physical import Scene, apply_physical
from simulator.rng import generator
from simulator.truth import NetworkTruth

__all__ = ["Faults", "office_event"]

_RESENT_WITHIN_MS = 3_600_000.0


class Faults:
    """The faults of one case, and how its clocks and lines are.

    Parameters
    ----------
    faults : sequence of Fault
    seed : int
    clocks : Clocks, optional
        What every clock and line does, beside the faults.
    interval_s : float
        Between two readings. [s]

    Attributes
    ----------
    first_ms : dict of Fault to int
        The first step that each had a part in, ms UTC; a rollover comes when the counter is full.
    """

    def __init__(
        self,
        faults: Sequence[Fault],
        seed: int = 0,
        *,
        clocks: Clocks | None = None,
        interval_s: float = 10.0,
    ) -> None:
        self.faults = tuple(faults)
        self.clocks = clocks or Clocks()
        self.metering = MeterFaults(faults, seed, interval_s)
        self.first_ms: dict[Fault, int] = {}
        self._seed = seed
        self._scenes: dict[str, Scene] = {}
        self._frozen: dict[Fault, Reading] = {}
        self._of: dict[tuple[str, str], list[Fault]] = {}
        self._places = frozenset(f.place for f in self.faults)
        self._quiet = self.clocks == Clocks()
        for fault in self.faults:
            self._of.setdefault((fault.place, fault.kind), []).append(fault)

    def _active(self, place: str, kind: str, t_ms: int) -> list[Fault]:
        """Faults of one kind that a place has just now."""
        return [f for f in self._of.get((place, kind), ()) if f.share(t_ms) > 0.0]

    def in_truth(self, truth: NetworkTruth, t_ms: int) -> None:
        """Set everything physical for the step that ends at `t_ms`."""
        name = truth.network.id
        if name not in self._scenes:
            self._scenes[name] = Scene.of(truth, self._seed)
        apply_physical(self._scenes[name], self.faults, t_ms)
        for fault in self.faults:
            idle = fault.kind == "draw_off" and fault not in self._scenes[name].taking  # between two bursts
            if fault.kind != "counter_rollover" and fault.share(t_ms) > 0.0 and not idle:
                self.first_ms.setdefault(fault, t_ms)

    def taken_kg_s(self, network: str) -> dict[str, float]:
        """Water that faults took from a network in the last step, by kind. [kg/s]"""
        scene = self._scenes.get(network)
        return dict(scene.taken_kg_s) if scene else {}

    def in_meters(self, meters: HeatMeters, names: Sequence[str], t_ms: int) -> None:
        """Set what the meters get wrong at `t_ms`, beyond what their class permits."""
        self.metering.apply(meters, names, t_ms)

    def after_reading(self, meters: HeatMeters, names: Sequence[str], t_ms: int) -> None:
        """Note which counters have just started again."""
        for f in self.faults:
            if f.kind == "counter_rollover" and f.place in names and meters.wrapped[names.index(f.place)]:
                self.first_ms.setdefault(f, t_ms)

    def in_reading(self, device: str, reading: Reading) -> Reading | None:
        """What the device says of a reading, on the clock that it has; None when it takes none."""
        if self._quiet and device not in self._places:
            return reading
        t_ms, values = reading.t_ms, reading.values
        if self._active(device, "device_off", t_ms) or self._dropped(device, t_ms):
            return None
        values = self.metering.spiked(device, t_ms, values)
        for f in self._of.get((device, "frozen"), ()):
            if f.share(t_ms) == 0.0:
                continue
            kept = self._frozen.setdefault(f, Reading(t_ms, values)).values
            held = {f.channel: kept[f.channel]} if f.channel and f.channel in kept else {}
            values = {**values, **held} if f.channel else kept
        ahead_s = self.clocks.ahead_s(self._seed, device, t_ms)
        for f in self._active(device, "clock_skew", t_ms):
            ahead_s += f.size * f.share(t_ms)
        for f in self._active(device, "clock_jitter", t_ms):
            draw = generator(self._seed, "jitter", t_ms, crc32(device.encode())).standard_normal()
            ahead_s += f.size * float(draw)
        return Reading(t_ms + round(1000.0 * ahead_s), values)

    def _dropped(self, device: str, t_ms: int) -> bool:
        """Whether a reading is not taken at all."""
        share = max([self.clocks.drop_share, *(f.size for f in self._active(device, "drop_out", t_ms))])
        if share == 0.0:
            return False
        return bool(generator(self._seed, "drop", t_ms, crc32(device.encode())).random() < share)

    def held_until(self, device: str, t_ms: int) -> int:
        """When a message of `t_ms` gets away: at once, or when the line is back. [ms UTC]"""
        if self._quiet and device not in self._places:
            return t_ms
        broken = [f.until_ms for f in self._active(device, "outage", t_ms)]
        return max([t_ms, self.clocks.line_back_ms(self._seed, device, t_ms), *broken])

    def sent_again_ms(self, device: str, t_ms: int) -> int | None:
        """When a message of `t_ms` is sent a second time by a collector that lost its acknowledgement."""
        if self._quiet and device not in self._places:
            return None
        share = max([self.clocks.resend_share, *(f.size for f in self._active(device, "resend", t_ms))])
        if share == 0.0:
            return None
        chance, delay = generator(self._seed, "resend", t_ms, crc32(device.encode())).random(2)
        return t_ms + 30_000 + round(_RESENT_WITHIN_MS * float(delay)) if chance < share else None

    def booked(self, after_ms: int, up_to_ms: int) -> list[Fault]:
        """Flushings that ended in (`after_ms`, `up_to_ms`]: the office books them then."""
        return [f for f in self.faults if f.kind == "flushing" and after_ms < f.until_ms <= up_to_ms]


def office_event(fault: Fault, network: str) -> dict[str, float | str]:
    """What the office enters of a flushing."""
    return {
        "ref": f"SIM-FLUSH-{fault.onset_ms // 60_000}-{fault.place}", "event": "flush", "network": network,
        "volume_m3": round(fault.size, 1),
        "note": f"仿真冲洗 simulated flushing at {fault.place}, booked as {water.COLD_KG_M3:g} kg/m³",
    }  # fmt: skip
