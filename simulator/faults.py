"""What goes wrong, done to the truth, to the meters or on the way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.driver import Reading
from simulator.case import Fault
from simulator.meters import HeatMeters
from simulator.truth import NetworkTruth

__all__ = ["Faults"]

_HUNTING_S = 240.0  # one swing up and down


class Faults:
    """The faults of one case.

    Parameters
    ----------
    faults : sequence of Fault
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        self._sound: dict[int, tuple[np.ndarray, ...]] = {}
        self._frozen: dict[str, Reading] = {}
        self._reset: set[Fault] = set()

    def of(self, place: str, *kinds: str) -> list[Fault]:
        """Faults of some kinds at one place."""
        return [f for f in self.faults if f.place == place and f.kind in kinds]

    def in_truth(self, truth: NetworkTruth, t_ms: int) -> None:
        """Set everything physical for the step that ends at `t_ms`."""
        if id(truth) not in self._sound:
            self._sound[id(truth)] = (truth.leak_kg_s.copy(), truth.supply.content.loss_w_k.copy())
        leaks, losses = (part.copy() for part in self._sound[id(truth)])
        truth.supply_leak_kg_s[:] = 0.0
        sub = truth.substations
        sub.ua_share[:], sub.stuck[:], sub.swing[:] = 1.0, np.nan, 0.0
        rows = {d.device: n for n, d in enumerate(truth.devices)}
        pipes = {name: n for n, name in enumerate(truth.supply.pipes.names)}
        for f in self.faults:
            share = f.share(t_ms)
            if share == 0.0:
                continue
            if f.kind in ("leak", "draw_off") and f.place in truth.supply.graph.index:
                leaks[truth.supply.graph.index[f.place]] += f.size * share
            elif f.kind == "supply_leak" and f.place in truth.supply.graph.index:
                truth.supply_leak_kg_s[truth.supply.graph.index[f.place]] += f.size * share
            elif f.kind == "insulation_loss" and f.place in pipes:
                losses[pipes[f.place]] *= 1.0 + (f.size - 1.0) * share
            elif f.kind == "fouling" and f.place in rows:
                sub.ua_share[rows[f.place]] *= 1.0 - f.size * share
            elif f.kind == "stuck_valve" and f.place in rows:
                sub.stuck[rows[f.place]] = f.size
            elif f.kind == "hunting" and f.place in rows:
                phase = 2.0 * np.pi * (t_ms / 1000.0) / _HUNTING_S
                sub.swing[rows[f.place]] = f.size * share * np.sin(phase)
        truth.leak_kg_s[:] = leaks
        truth.supply.content.loss_w_k[:] = losses
        truth.back.content.loss_w_k[:] = losses

    def in_meters(self, meters: HeatMeters, names: Sequence[str], t_ms: int) -> None:
        """Set what the meters get wrong at `t_ms`, beyond what their class permits."""
        meters.flow_factor[:] = 1.0
        meters.supply_bias_c[:] = meters.return_bias_c[:] = 0.0
        meters.swapped[:] = meters.misread[:] = False
        rows = {name: n for n, name in enumerate(names)}
        for f in self.faults:
            share, row = f.share(t_ms), rows.get(f.place)
            if row is None or share == 0.0:
                continue
            if f.kind == "flow_bias":
                meters.flow_factor[row] *= 1.0 + f.size * share
            elif f.kind == "flow_drift":
                meters.flow_factor[row] *= 1.0 + f.size * (t_ms - f.onset_ms) / 86_400_000
            elif f.kind == "supply_bias":
                meters.supply_bias_c[row] += f.size * share
            elif f.kind == "return_bias":
                meters.return_bias_c[row] += f.size * share
            elif f.kind == "sensors_swapped":
                meters.swapped[row] = True
            elif f.kind == "wrong_mounting":
                meters.misread[row] = True
            elif f.kind == "counter_reset" and f not in self._reset:
                self._reset.add(f)
                meters.reset(row)

    def in_reading(self, device: str, reading: Reading) -> Reading:
        """What the device says of a reading: frozen values, a clock that is off."""
        t_ms = reading.t_ms
        values = reading.values
        if any(f.share(t_ms) for f in self.of(device, "frozen")):
            values = self._frozen.setdefault(device, reading).values
        else:
            self._frozen.pop(device, None)
        ahead_ms = sum(round(1000 * f.size * f.share(t_ms)) for f in self.of(device, "clock_skew"))
        return Reading(t_ms + ahead_ms, values)

    def held_until(self, device: str, t_ms: int) -> int:
        """When a message of `t_ms` gets away: at once, or when the line is back."""
        return max([t_ms, *(f.until_ms for f in self.of(device, "outage") if f.share(t_ms) > 0.0)])
