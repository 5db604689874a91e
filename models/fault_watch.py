"""What is known of the heat devices of a stream between two steps, and the step from one to the next.

Pure: the learner `substation_faults` gives it samples and tells of the episodes that it finds.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from models import fault_flow, fault_loops, fault_sensors
from models.fault_episodes import Episodes
from models.fault_normal import Normals
from models.fault_seen import LINE_OF, LINES, Seen, Verdict, carries, watched
from models.fault_step import CARRIED, FaultStep

__all__ = ["KEPT", "Watch", "day_sums", "judged", "line_inputs"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_DAY: Final = (
    "sum_energy", "sum_computed", "sum_shown", "sum_compared", "sum_samples", "sum_volume", "sum_return",
    "sum_excess", "sum_operating_h", "sum_operating_s", "sum_k", "sum_kk", "sum_k_n",
    "sum_load_off", "sum_load_n",
)  # fmt: skip
KEPT: Final = (
    *CARRIED, "before_supply_c", "before_return_c", "sound_kw", "turns_h", "flow_mean", "flow_var",
    "stillness", "still", "flat_supply", "flat_return", "metered", "day_energy_ratio",
    "day_power_ratio", "day_off_run", "day_sampling", "day_return_c",
    "day_excess_m3", "day_rank", "day_operating_off_h", "day_load_off_kw", "cusum_up", "cusum_down", *_DAY,
    "owed_kwh", "day_peers_return_c",
)  # fmt: skip
"""What is carried on of each device beside its lines and episodes."""
_ZERO: Final = frozenset(
    {
        "turns_h",
        "still",
        "flat_supply",
        "flat_return",
        "day_off_run",
        "cusum_up",
        "cusum_down",
        "day_operating_off_h",
        "owed_kwh",
        *_DAY,
    }
)
_TURNS_TAU_H, _FLOW_TAU_H, _STILL_TAU_H, _POWER_TAU_H = 0.5, 1.5, 2.0, 2.0
_LEAST_SD_SHARE: Final = 0.05
_LEAST_LOAD_STEPS: Final = 48.0


@dataclass(frozen=True, slots=True)
class Watch:
    """State of every device; told holds what was said last of each episode, shared the causes in common.

    Attributes
    ----------
    normal : Normals
    episodes : Episodes
    kept : mapping of str to ndarray, shape (devices,)
    day_ms : int
        The local day that is summed. [ms UTC]
    told, shared : dict
    """

    normal: Normals = field(default_factory=lambda: Normals.none(len(LINES)))
    episodes: Episodes = field(default_factory=Episodes.none)
    kept: Mapping[str, FloatArray] = field(default_factory=lambda: {name: np.zeros(0) for name in KEPT})
    day_ms: int = -1
    told: Mapping[str, Any] = field(default_factory=dict)
    shared: Mapping[str, list[Any]] = field(default_factory=dict)

    def grown(self, count: int) -> Watch:
        """With room for `count` devices."""
        lacking = count - len(self.kept["t"])
        if lacking <= 0:
            return self
        kept = {
            name: np.append(value, np.full(lacking, 0.0 if name in _ZERO else np.nan))
            for name, value in self.kept.items()
        }
        return replace(self, normal=self.normal.grown(count), episodes=self.episodes.grown(count), kept=kept)

    def to_bytes(self) -> bytes:
        """All of it; `from_bytes` reads it."""
        kept = {
            "normal": {name: _text(a) for name, a in self.normal.arrays().items()},
            "episodes": {name: _text(a) for name, a in self.episodes.arrays().items()},
            "kept": _text(np.array([self.kept[name] for name in KEPT])),
            "day_ms": self.day_ms, "told": dict(self.told), "shared": dict(self.shared),
        }  # fmt: skip
        return json.dumps(kept, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote."""
        kept = json.loads(data)
        normal = Normals(**{name: _array(a) for name, a in kept["normal"].items()})
        episodes = Episodes(**{name: _array(a) for name, a in kept["episodes"].items()})
        rows = list(_array(kept["kept"]))
        # One that an earlier release wrote lacks what was added since, at the end: nothing yet.
        rows += [np.zeros(len(rows[0]))] * (len(KEPT) - len(rows))
        return cls(
            normal, episodes, dict(zip(KEPT, rows, strict=True)), kept["day_ms"], kept["told"], kept["shared"]
        )


def _text(array: NDArray[Any]) -> list[Any]:
    whole = np.ascontiguousarray(array)
    return [whole.dtype.str, list(whole.shape), b64encode(zlib.compress(whole.tobytes(), 1)).decode()]


def _array(kept: Sequence[Any]) -> NDArray[Any]:
    kind, shape, data = kept
    return np.frombuffer(zlib.decompress(b64decode(data)), dtype=np.dtype(kind)).reshape(shape)


def _smoothed(before: FloatArray, value: FloatArray, tau_h: float) -> FloatArray:
    """Exponential mean over steps of a quarter of an hour; NaN changes nothing."""
    rate = 1.0 - np.exp(-0.25 / tau_h)
    first = np.where(np.isnan(before), value, before)
    return np.asarray(np.where(np.isnan(value), before, first + rate * (value - first)))


def line_inputs(
    watch: Watch, step: FaultStep, seen: Seen, reference_c: FloatArray
) -> tuple[Watch, FloatArray, FloatArray]:
    """With what a step adds to the running means, and the x and y of every line."""
    kept = dict(watch.kept)
    kept["turns_h"] = np.asarray(_smoothed(kept["turns_h"], 4.0 * step["turns"], _TURNS_TAU_H))
    log_flow = np.where(seen.carrying, np.log(np.maximum(step["flow_m3_h"], 1e-6)), np.nan)
    kept["flow_mean"] = _smoothed(kept["flow_mean"], log_flow, _FLOW_TAU_H)
    mean = np.where(np.isnan(kept["flow_mean"]), log_flow, kept["flow_mean"])
    kept["flow_var"] = _smoothed(kept["flow_var"], (log_flow - mean) ** 2, _STILL_TAU_H)
    kept["stillness"] = 0.5 * np.log(np.maximum(kept["flow_var"], 1e-10))
    x, y = watched(step, seen.carrying, seen.outdoor_c, reference_c, np.exp(kept["stillness"]))
    return replace(watch, kept=kept), x, y


def judged(
    watch: Watch, seen: Seen, events: dict[str, FloatArray], gap: BoolArray, x: FloatArray, y: FloatArray,
    span_ms: tuple[int, int], beside: Callable[[FloatArray], FloatArray],
) -> tuple[Watch, list[Verdict], list[tuple[str, int]], list[tuple[str, int]]]:  # fmt: skip
    """One step further: every rule asked, lines learned, episodes begun and ended.

    Parameters
    ----------
    events : dict of str to ndarray
        Events of counters in the step.
    gap : ndarray of bool
        Whether the meter was gone for a time just now.
    x, y : ndarray, shape (lines, devices)
    span_ms : (int, int)
        The step. [ms UTC]
    beside : callable
        Gives, of how far supply sensors are off their neighbours, how that compares within their network.

    Returns
    -------
    Watch
    list of Verdict
    begun, over : list of (code, device index)
    """
    heard = seen["samples"] > 0.0
    before = watch.episodes
    sensors = [
        fault_sensors.broken(seen, before.of("sensor_broken")), fault_sensors.swapped(seen),
        fault_sensors.clocks(seen), *fault_sensors.counters(seen, events, gap),
    ]  # fmt: skip
    exchanged = next(v for v in sensors if v.code == "counter_exchange").on
    still = fault_sensors.held_still(seen)
    gross = [fault_flow.pump_trip(seen), fault_sensors.calculator(seen)]
    wrong = np.any([v.on for v in (*sensors[:2], *gross)], axis=0)
    whole = ~still & ~(seen.kept["still"] == 1.0) & ~wrong & ~((before.hold > 0) & (before.rank <= 1))
    known = ~np.isnan(x + y) & whole
    normal = watch.normal.anew(exchanged) if exchanged.any() else watch.normal
    normal = normal.taken(LINES, x, y, known & ~before.disturbed, known)
    seen = replace(seen, normal=normal)
    seen = replace(seen, beside=beside(seen.off("neighbours")))
    later = [
        fault_flow.air(seen), fault_flow.hunting(seen), *fault_flow.stuck_valve(seen),
        fault_loops.internal_leak(seen), fault_loops.secondary_leak(seen), fault_sensors.supply_bias(seen),
        fault_sensors.return_bias(seen), fault_flow.clogged_strainer(seen),
        fault_loops.fouled_exchanger(seen),
        fault_loops.bypass(seen), fault_loops.high_return(seen), fault_loops.load_change(seen),
    ]  # fmt: skip
    later = [v._replace(on=v.on & ~still) for v in later]
    verdicts = [*sensors, *gross, *later]
    episodes, begun, over = before.taken(verdicts, heard, *span_ms)
    kept = dict(watch.kept)
    sound = np.where(whole & seen.carrying, seen["power_kw"], np.nan)
    kept["sound_kw"] = _smoothed(kept["sound_kw"], sound, _POWER_TAU_H)
    load = np.where(known[LINE_OF["load"]], y[LINE_OF["load"]] - seen.usual_kw, np.nan)
    quiet = ~np.isnan(load) & (episodes.hold == 0)
    over_kw = np.nan_to_num(seen["power_kw"] - seen.usual_kw)
    over_kw = np.where(still | np.any([v.on for v in sensors[:2]], axis=0), 0.0, over_kw)
    withheld_kw = np.where(episodes.hold > 0, np.maximum(-over_kw, 0.0), 0.0)
    lack, repaid_kw = fault_loops.owed(kept["owed_kwh"], withheld_kw, np.maximum(over_kw, 0.0))
    kept["owed_kwh"] = np.where(heard, lack, kept["owed_kwh"])
    kept["sum_load_off"] = kept["sum_load_off"] + np.where(quiet, load - repaid_kw, 0.0)
    kept["sum_load_n"] = kept["sum_load_n"] + quiet
    kept["before_supply_c"] = np.where(np.isnan(seen["supply_c"]), kept["before_supply_c"], seen["supply_c"])
    kept["before_return_c"] = np.where(np.isnan(seen["return_c"]), kept["before_return_c"], seen["return_c"])
    for side in ("supply", "return"):
        same = (seen[f"sd_{side}"] == 0.0) & heard
        kept[f"flat_{side}"] = np.where(
            same, kept[f"flat_{side}"] + 1.0, np.where(heard, 0.0, kept[f"flat_{side}"])
        )
    kept["still"] = np.where(heard, still.astype(np.float64), kept["still"])
    kept["metered"] = np.where(heard, seen["metered_share"], 0.0)
    for name in CARRIED:
        last = seen[f"last_{name}"]
        kept[name] = np.where(np.isnan(last), kept[name], last)
    return replace(watch, normal=normal, episodes=episodes, kept=kept), verdicts, begun, over


def day_sums(watch: Watch, seen: Seen, excess_m3: FloatArray, events: Mapping[str, FloatArray]) -> Watch:
    """With what a step adds to the day; energy only where counters just counted."""
    kept = dict(watch.kept)
    volume = np.nan_to_num(seen["d_volume_m3"])
    back = seen["weighted_return_c"]
    added = {
        "sum_energy": seen["d_energy_gj"], "sum_computed": seen["d_computed_gj"],
        "sum_shown": seen["shown_kw"],
        "sum_compared": seen["compared_kw"], "sum_samples": seen["compared"],
        "sum_volume": np.where(np.isnan(back), 0.0, volume), "sum_return": back * volume,
        "sum_excess": excess_m3, "sum_operating_h": seen["d_operating_h"],
        "sum_operating_s": seen["operating_s"], "sum_k": seen["sum_k"], "sum_kk": seen["sum_kk"],
        "sum_k_n": seen["sum_k_n"],
    }  # fmt: skip
    odd = np.any([value > 0.0 for value in events.values()], axis=0)
    for name, value in added.items():
        known = ~np.isnan(value) & ~(odd & (name in {"sum_energy", "sum_computed"}))
        kept[name] = kept[name] + np.where(known, value, 0.0)
    return replace(watch, kept=kept)


def day_over(watch: Watch, groups: Sequence[NDArray[np.int64]]) -> Watch:
    """With the day's verdicts drawn, its lines learned, and the sums at nothing.

    Parameters
    ----------
    groups : sequence of ndarray of int64
        Devices that are ranked together, by network.
    """
    kept = dict(watch.kept)

    def per(sum_name: str, of: str) -> FloatArray:
        whole = kept[of]
        return np.asarray(np.where(whole > 0.0, kept[sum_name] / np.where(whole > 0.0, whole, 1.0), np.nan))

    kept["day_energy_ratio"] = np.where(kept["sum_energy"] >= 0.0, per("sum_energy", "sum_computed"), np.nan)
    kept["day_power_ratio"] = per("sum_shown", "sum_compared")
    kept["day_sampling"] = fault_sensors.sampling_share(kept["sum_k"], kept["sum_kk"], kept["sum_k_n"])
    off = fault_sensors.day_is_off(
        kept["day_energy_ratio"], kept["day_power_ratio"], kept["sum_samples"], kept["day_sampling"]
    )
    known = kept["sum_samples"] >= fault_sensors.DAY_LEAST
    disturbed = watch.episodes.hold > 0
    kept["day_off_run"] = np.where(
        off & ~disturbed, kept["day_off_run"] + 1.0, np.where(known, 0.0, kept["day_off_run"])
    )
    kept["day_return_c"] = per("sum_return", "sum_volume")
    kept["day_excess_m3"] = np.where(kept["sum_volume"] > 0.0, kept["sum_excess"], np.nan)
    rank, peers_c = np.full(len(kept["t"]), np.nan), np.full(len(kept["t"]), np.nan)
    for members in groups:
        peers_c[members] = fault_loops.usual_return_c(kept["day_return_c"][members])
        order = np.argsort(-np.nan_to_num(kept["day_excess_m3"][members], nan=-np.inf), kind="stable")
        rank[members[order]] = np.arange(1.0, len(members) + 1.0)
    kept["day_rank"], kept["day_peers_return_c"] = rank, peers_c
    kept["day_operating_off_h"] = np.abs(kept["sum_operating_h"] - kept["sum_operating_s"] / 3600.0)
    enough = kept["sum_load_n"] >= _LEAST_LOAD_STEPS
    kept["day_load_off_kw"] = np.where(enough, per("sum_load_off", "sum_load_n"), np.nan)
    at = LINE_OF["load"]
    mean_kw = np.where(
        watch.normal.base[0, at] > 0.0,
        watch.normal.base[2, at] / np.maximum(watch.normal.base[0, at], 1.0),
        np.nan,
    )
    sd = np.maximum(watch.normal.sd[at] / 2.0, _LEAST_SD_SHARE * mean_kw)
    z = kept["day_load_off_kw"] / np.where(sd > 0.0, sd, np.nan)
    kept["cusum_up"] = fault_loops.cusum(kept["cusum_up"], z)
    kept["cusum_down"] = fault_loops.cusum(kept["cusum_down"], -z)
    for name in _DAY:
        kept[name] = np.zeros(len(kept["t"]))
    clean = ~watch.episodes.disturbed
    return replace(watch, kept=kept, normal=watch.normal.day_over(LINES, clean))


def seen_of(
    watch: Watch, step: FaultStep, outdoor_c: FloatArray, qp_m3_h: FloatArray, dt_min_k: FloatArray,
    return_ref_c: FloatArray,
) -> Seen:  # fmt: skip
    """A step as rules see it, before its lines have taken it in."""
    carrying = carries(step, qp_m3_h, dt_min_k)
    unknown = np.full(step.count, np.nan)
    return Seen(step, watch.normal, watch.kept, carrying, outdoor_c, qp_m3_h, dt_min_k, return_ref_c, unknown)
