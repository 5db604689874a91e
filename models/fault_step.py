"""What one quarter of an hour of samples says of each heat device, in one pass: means, scatter, tails, turns.

Rules of faults are stated over these numbers, so that samples are looked at once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.heat import heat_power_kw
from models.quality import is_masked, too_fast

__all__ = ["CARRIED", "LEAST_SAMPLES", "FaultStep", "Samples", "fault_step", "turns"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Column = Callable[[str], FloatArray]

LEAST_SAMPLES: Final = 3
FLOW_SHARE: Final = 0.05
"""Of the nominal flow: below it a meter's error is not bounded, and nothing is judged."""
DEFAULT_DT_MIN_K: Final = 3.0
MEANS: Final = (
    "flow_m3_h", "supply_c", "return_c", "heat_kw", "supply_kpa", "return_kpa", "valve_pct",
    "secondary_supply_c", "secondary_return_c", "secondary_flow_m3_h", "secondary_supply_kpa",
    "secondary_return_kpa", "secondary_setpoint_c", "pump_hz", "outdoor_c",
)  # fmt: skip
TEMPERATURES: Final = ("supply_c", "return_c", "secondary_supply_c", "secondary_return_c")
_COUNTERS: Final = ("volume_m3", "energy_gj", "secondary_makeup_m3", "operating_h")
CARRIED: Final = ("t", *_COUNTERS, "stood", "per_m3")
"""The last reading before the step, and of each counter, and whether the volume stood still before."""
_TAIL: Final = 3
_BIN_MS: Final = 60_000
_SWING: Final = 0.20
_ROUNDING: Final = 1e-12
_BEATS: Final = 2.0  # intervals between two readings that are no gap yet
_FLOW_WANDERS: Final = 0.5
_LEAST_VALVE_PCT: Final = 3.0


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of one class in a step, sorted by (device, t).

    Attributes
    ----------
    device, t : ndarray of int64, shape (n,)
        Device index and time. [ms UTC]
    columns : sequence of str
    values : ndarray, shape (columns, n)
    on_supply : ndarray of bool, shape (devices of the stream,)
    qp_m3_h, dt_min_k, interval_ms : ndarray, shape (devices of the stream,)
    """

    device: IntArray
    t: IntArray
    columns: Sequence[str]
    values: FloatArray
    on_supply: BoolArray
    qp_m3_h: FloatArray
    dt_min_k: FloatArray
    interval_ms: FloatArray


class FaultStep:
    """Numbers by name, each of shape (devices of the stream,); NaN where not known."""

    def __init__(self, count: int, values: dict[str, FloatArray] | None = None) -> None:
        self.count = count
        self._values = {} if values is None else values
        self._unknown = np.full(count, np.nan)
        self._unknown.flags.writeable = False

    def __getitem__(self, name: str) -> FloatArray:
        return self._values.get(name, self._unknown)

    def put(self, name: str, device: IntArray, value: FloatArray) -> None:
        """Set a number of some devices."""
        if name not in self._values:
            self._values[name] = np.full(self.count, np.nan)
        self._values[name][device] = value


def fault_step(classes: Sequence[Samples], count: int, carried: Mapping[str, FloatArray]) -> FaultStep:
    """Numbers of one step.

    Parameters
    ----------
    classes : sequence of Samples
        Of disjoint devices.
    count : int
        Devices of the stream.
    carried : mapping of str to ndarray, shape (count,)
        By `CARRIED` the last reading before the step; NaN where there is none.

    Returns
    -------
    FaultStep
        Means by measurement; `sd_…` scatter within the step; `tail_…` means of the last three samples;
        `power_kw` of the meter's own flow and temperatures; `d_…` how counters grew; and what is said below.
    """
    out = FaultStep(count)
    for samples in classes:
        if len(samples.device):
            _of_class(samples, out, carried)
    return out


class _Groups:
    """Sums over each device's samples."""

    def __init__(self, device: IntArray) -> None:
        new = np.ones(len(device), dtype=bool)
        new[1:] = device[1:] != device[:-1]
        self.first: IntArray = np.flatnonzero(new)
        self.of: IntArray = np.cumsum(new) - 1
        self.device: IntArray = device[self.first]
        self.new: BoolArray = new
        self.last: IntArray = np.append(self.first[1:], len(device)) - 1

    def sum(self, value: NDArray[np.float64] | BoolArray) -> FloatArray:
        return np.add.reduceat(value, self.first, axis=-1, dtype=np.float64)

    def mean(self, value: FloatArray, which: BoolArray | None = None) -> FloatArray:
        """Mean of the known values, NaN where there is none."""
        there = ~np.isnan(value) if which is None else which & ~np.isnan(value)
        n = self.sum(there)
        total = self.sum(np.where(there, value, 0.0))
        return np.asarray(np.where(n > 0.0, total / np.maximum(n, 1.0), np.nan))

    def scatter(self, value: FloatArray, mean: FloatArray) -> FloatArray:
        """Standard deviation, NaN below `LEAST_SAMPLES` values."""
        off = value - mean[..., self.of]
        n = self.sum(~np.isnan(off))
        squares = self.sum(np.where(np.isnan(off), 0.0, off * off))
        sd = np.sqrt(squares / np.maximum(n, 1.0))
        sd = np.where(
            sd < _ROUNDING * (1.0 + np.abs(mean)), 0.0, sd
        )  # a mean of equal values is not quite one
        return np.asarray(np.where(n >= LEAST_SAMPLES, sd, np.nan))


def _of_class(samples: Samples, out: FaultStep, carried: Mapping[str, FloatArray]) -> None:
    place = {name: at for at, name in enumerate(samples.columns)}
    groups = _Groups(samples.device)
    device = groups.device
    none = np.full(len(samples.device), np.nan)

    def column(name: str) -> FloatArray:
        return samples.values[place[name]] if name in place else none

    def put(name: str, value: FloatArray) -> None:
        out.put(name, device, value)

    put("samples", groups.sum(np.ones(len(samples.device))))
    named: list[str] = [name for name in MEANS if name in place]
    means = groups.mean(samples.values[[place[name] for name in named]])
    for name, value in zip(named, means, strict=True):
        put(name, value)
    flow, hot, cold = (column(name) for name in ("flow_m3_h", "supply_c", "return_c"))
    dp = column("secondary_supply_kpa") - column("secondary_return_kpa")
    scattered = np.array([flow, hot, cold, column("secondary_flow_m3_h"), dp, column("secondary_supply_c")])
    centre = groups.mean(scattered)
    put("secondary_dp_kpa", centre[4])
    for name, value in zip(
        ("sd_flow", "sd_supply", "sd_return", "sd_secondary_flow", "sd_secondary_dp",
         "sd_secondary_supply"),
        groups.scatter(scattered, centre), strict=True,
    ):  # fmt: skip
        put(name, value)
    per_m3 = heat_power_kw(np.ones(len(flow)), hot, cold, samples.on_supply[samples.device])
    power = flow * per_m3
    _valve(groups, out, flow, column("supply_kpa") - column("return_kpa"), column("valve_pct"))
    _power(samples, groups, out, flow, hot - cold, power, column("heat_kw"))
    tail = (groups.last[groups.of] - np.arange(len(flow))) < _TAIL
    put("tail_secondary_dp_kpa", groups.mean(dp, tail))
    put("tail_power_kw", groups.mean(power, tail))
    put("tail_pump_hz", groups.mean(column("pump_hz"), tail))
    gap_s, d_volume = _counted(samples, groups, out, carried, column, per_m3)
    _clocks(samples, groups, out, carried, flow, gap_s, d_volume)
    put("flickers", np.maximum(_flickers(groups, hot, gap_s), _flickers(groups, cold, gap_s)))
    put("turns", turns(samples.t, flow, groups.of, groups.device.size, centre[0]))
    weighted = groups.sum(np.nan_to_num(flow * cold)) / np.maximum(groups.sum(np.nan_to_num(flow)), 1e-9)
    put("weighted_return_c", np.where(centre[0] > 0.0, weighted, np.nan))
    temperatures = [place[name] for name in TEMPERATURES if name in place]
    masked = np.array([is_masked(samples.values[at]) for at in temperatures])
    put("masked_share", (groups.sum(masked) / np.maximum(groups.sum(np.ones(len(flow))), 1.0)).max(axis=0))
    put("metered_share", groups.sum(~np.isnan(column("energy_gj"))) / groups.sum(np.ones(len(flow))))


def _valve(groups: _Groups, out: FaultStep, flow: FloatArray, dp: FloatArray, valve: FloatArray) -> None:
    """Mean logs of the opening and of q/√Δp, of the same instants.

    Of means over the step the one would not be the other's: where a neighbour hunts, Δp jumps from sample to
    sample, the valve follows as 1/√Δp, and the mean of that is more than that of the mean (Jensen).
    """
    both = (flow > 0.0) & (dp > 1.0) & (valve > _LEAST_VALVE_PCT)
    safe = [np.where(both, value, 1.0) for value in (valve, flow, dp)]
    out.put("ln_valve", groups.device, groups.mean(np.log(safe[0] / 100.0), both))
    out.put("ln_passage", groups.device, groups.mean(np.log(safe[1]) - 0.5 * np.log(safe[2]), both))


def _power(
    samples: Samples, groups: _Groups, out: FaultStep, flow: FloatArray, span: FloatArray, power: FloatArray,
    shown: FloatArray,
) -> None:  # fmt: skip
    """Power, and what the calculator shows beside that of the same instants, where both can be judged."""
    qp, dt_min = samples.qp_m3_h[samples.device], samples.dt_min_k[samples.device]
    enough = flow > np.where(np.isnan(qp), 0.0, FLOW_SHARE * qp)
    wide = span > np.where(np.isnan(dt_min), DEFAULT_DT_MIN_K, dt_min)
    both = enough & wide & ~np.isnan(power + shown)
    out.put("power_kw", groups.device, groups.mean(power))
    out.put("compared", groups.device, groups.sum(both))
    out.put("compared_kw", groups.device, groups.sum(np.where(both, power, 0.0)))
    out.put("shown_kw", groups.device, groups.sum(np.where(both, shown, 0.0)))


def _counted(
    samples: Samples, groups: _Groups, out: FaultStep, carried: Mapping[str, FloatArray], column: Column,
    per_m3: FloatArray,
) -> tuple[FloatArray, FloatArray]:  # fmt: skip
    """How counters grew from reading to reading; gives the time between them and the growth of the volume."""
    new = groups.new
    before_t = np.roll(samples.t.astype(np.float64), 1)
    before_t[new] = carried["t"][groups.device]
    gap_s = (samples.t - before_t) / 1000.0
    grown: dict[str, FloatArray] = {}
    for name in _COUNTERS:
        value = column(name)
        before = np.roll(value, 1)
        before[new] = carried[name][groups.device]
        grown[name] = value - before
        known = ~np.isnan(value)
        at = np.where(known, np.arange(len(value)), -1)
        newest = np.maximum.reduceat(at, groups.first)
        out.put(f"last_{name}", groups.device, np.where(newest >= 0, value[newest], np.nan))
    out.put("last_t", groups.device, samples.t[groups.last].astype(np.float64))
    d_volume, d_energy = grown["volume_m3"], grown["energy_gj"]
    good = (d_volume >= 0.0) & (d_energy >= 0.0) & ~np.isnan(per_m3) & (gap_s <= 7_200.0)
    out.put("d_energy_gj", groups.device, groups.sum(np.where(good, d_energy, 0.0)))
    # Of readings that are far apart the mean of both ends stands for what flowed between them.
    before_k = np.roll(per_m3, 1)
    before_k[new] = carried["per_m3"][groups.device]
    mean_k = np.where(np.isnan(before_k), per_m3, (per_m3 + before_k) / 2.0)
    out.put("d_computed_gj", groups.device, groups.sum(np.where(good, d_volume * mean_k * 3.6e-3, 0.0)))
    weight = np.where(good, per_m3, 0.0)
    out.put("sum_k", groups.device, groups.sum(weight))
    out.put("sum_kk", groups.device, groups.sum(weight * weight))
    out.put("sum_k_n", groups.device, groups.sum(good))
    out.put("last_per_m3", groups.device, per_m3[groups.last])
    out.put("d_volume_m3", groups.device, groups.sum(np.where(d_volume >= 0.0, d_volume, 0.0)))
    makeup = grown["secondary_makeup_m3"]
    usable = (makeup >= 0.0) & (gap_s <= 3_600.0)
    out.put("d_makeup_m3", groups.device, groups.sum(np.where(usable, makeup, 0.0)))
    out.put("makeup_s", groups.device, groups.sum(np.where(usable, gap_s, 0.0)))
    hours = grown["operating_h"]
    known = (hours >= 0.0) & ~np.isnan(gap_s)
    out.put("d_operating_h", groups.device, groups.sum(np.where(known, hours, 0.0)))
    out.put("operating_s", groups.device, groups.sum(np.where(known, gap_s, 0.0)))
    return gap_s, d_volume


def _clocks(
    samples: Samples, groups: _Groups, out: FaultStep, carried: Mapping[str, FloatArray], flow: FloatArray,
    gap_s: FloatArray, d_volume: FloatArray,
) -> None:  # fmt: skip
    """Whether readings come on their beat, and their times agree with the water counted between them."""
    device, new = samples.device, groups.new
    interval_s = samples.interval_ms[device] / 1000.0
    phase = gap_s / interval_s
    off = np.where(new, np.nan, np.abs(phase - np.rint(phase)))
    out.put("uneven", groups.device, groups.mean(off))
    qp = samples.qp_m3_h[device]
    # A counter that was frozen, and goes on, makes up for the time in which it stood.
    stood = np.roll(d_volume, 1) == 0.0
    stood[new] = carried["stood"][groups.device] == 1.0
    out.put("last_stood", groups.device, (d_volume[groups.last] == 0.0).astype(np.float64))
    steady = (
        (flow > FLOW_SHARE * qp) & (d_volume >= 0.0) & (gap_s <= 3_600.0) & (interval_s <= 120.0) & ~stood
    )
    missing = np.where(steady, gap_s - 3_600.0 * d_volume / np.where(steady, flow, 1.0), 0.0)
    # The flow at the end of a gap is not that within it. What a clock skips makes a gap of its own length,
    # and one set back leaves none: half of what is a gap loses neither.
    gap_left_s = np.maximum(gap_s - _BEATS * interval_s, 0.0)
    missing = np.where(np.abs(missing) > interval_s + _FLOW_WANDERS * gap_left_s, missing, 0.0)
    largest = np.maximum.reduceat(missing, groups.first)
    least = np.minimum.reduceat(missing, groups.first)
    out.put("clock_jump_s", groups.device, np.where(largest >= -least, largest, least))


def _flickers(groups: _Groups, value: FloatArray, gap_s: FloatArray) -> FloatArray:
    """How often a temperature went one way faster than it can, then the other; a pump trip goes one way."""
    fast = np.zeros(len(value), dtype=bool)
    fast[1:] = ~groups.new[1:] & too_fast(value[:-1], value[1:], gap_s[1:] * 1000.0, 10.0)
    at = np.flatnonzero(fast)
    rises = value[at] > value[at - 1]
    back = (rises[1:] != rises[:-1]) & (groups.of[at[1:]] == groups.of[at[:-1]])
    return np.bincount(groups.of[at[1:]][back], minlength=len(groups.first)).astype(np.float64)


def turns(t_ms: IntArray, value: FloatArray, group: IntArray, groups: int, mean: FloatArray) -> FloatArray:
    """How often each group's value turned round after a swing of over a fifth of its mean.

    Judged by means of a minute, so that noise of single samples makes no turn.

    Parameters
    ----------
    t_ms : ndarray of int64, shape (n,)
        Ascending within a group. [ms UTC]
    value : ndarray, shape (n,)
        NaN is absent. [u]
    group : ndarray of int64, shape (n,)
        Ascending from 0.
    mean : ndarray, shape (groups,)
        [u]

    Examples
    --------
    >>> t = np.arange(8) * 60_000
    >>> turns(t, np.array([1.0, 1.5, 1.0, 1.5, 1.45, 1.0, 1.5, 1.5]), np.zeros(8, int), 1, np.array([1.3]))
    array([4.])
    """
    known = np.flatnonzero(~np.isnan(value))
    if len(known) < LEAST_SAMPLES:
        return np.zeros(groups)
    value, group, minute = value[known], group[known], t_ms[known] // _BIN_MS
    begins = np.ones(len(value), dtype=bool)
    begins[1:] = (group[1:] != group[:-1]) | (minute[1:] != minute[:-1])
    first = np.flatnonzero(begins)
    n = np.diff(np.append(first, len(value)))
    value, group = np.add.reduceat(value, first) / n, group[first]
    # Turning points: ends of each group, and where the direction changes.
    rises = np.sign(np.diff(value))
    inside = np.zeros(len(value), dtype=bool)
    inside[1:-1] = (rises[:-1] * rises[1:] < 0.0) & (group[2:] == group[:-2])
    ends = np.ones(len(value), dtype=bool)
    ends[1:-1] = (group[1:-1] != group[:-2]) | (group[1:-1] != group[2:])
    points = np.flatnonzero(inside | ends)
    swing = np.abs(np.diff(value[points]))
    wide = (swing > _SWING * np.abs(mean[group[points[1:]]])) & (group[points[1:]] == group[points[:-1]])
    turned = wide & inside[points[:-1]]
    return np.bincount(group[points[1:]][turned], minlength=groups).astype(np.float64)
