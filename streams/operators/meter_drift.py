"""Meters that changed against their own past, day by day, named with whatever would look the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.anomaly import ANOMALY, Anomaly, Severity, State, anomaly_table
from models.meter_baseline import LEARNING_DAYS, Baseline, learnt
from models.meter_drift import HEAT, WATER, Fault, Found, Kind, Layout, find_steps, untouched
from models.water import density_kg_m3
from streams.core.local_days import day_bounds_ms
from streams.core.network_rows import STEP_MS, Settled
from streams.core.operator import learner

__all__ = ["meter_drift"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

VERSION: Final = 2
_RECENT_DAYS: Final = 5
_MIN_DAY: Final = 0.8
"""Share of a day's steps that must be known."""
_MOST_NAMED: Final = 3
_DIGITS: Final = 7
_SUMS: Final = ("heat", "mass", "primary", "second", "spread", "steps", "both")
_OF_NETWORK: Final = ("supplied", "residual", "loss", "windows")


@dataclass(frozen=True, slots=True)
class _Members:
    """Devices of a network: plants first, then consumers, sorted by id."""

    names: list[str]
    index: IntArray
    plants: int
    leak_sign: float


@learner(
    reads=("device_heat", "network_heat", "secondary_heat"), version=VERSION, subject="network",
    writes=ANOMALY,
)  # fmt: skip
def meter_drift(state: Any, settled: Settled) -> tuple[Any, pa.Table | None]:
    """Add up a day of each network, compare it with those before, and tell of steps."""
    state = dict(state or {})
    told: list[Anomaly] = []
    day_ms, day_end_ms = day_bounds_ms(settled.start_ms, settled.site.site.timezone)
    for network in settled.networks:
        members = _members(settled, network)
        if members is None or not len(members.index):
            continue
        mine = state.get(network)
        if mine is None or mine["names"] != members.names or mine["day"] != day_ms:
            if mine is not None and mine["names"] == members.names:
                told += _ended_day(mine, members, settled, network)
            mine = _new_day(mine, members, day_ms)
        mine = state[network] = {**mine, "sums": dict(mine["sums"])}
        _add(mine, members, settled, network)
        if settled.end_ms >= day_end_ms:
            told += _ended_day(mine, members, settled, network)
            state[network] = _new_day(mine, members, day_end_ms)
    return state, anomaly_table(told, settled.stream) if told else None


def _members(settled: Settled, network: str) -> _Members | None:
    registry = settled.site.site
    if network not in registry.networks:
        return None
    index = {name: at for at, name in enumerate(settled.site.ids)}
    devices = sorted((d for d in registry.devices.values() if d.network == network), key=lambda d: d.device)
    plants = [d for d in devices if d.device_class == "plant"]
    takes = [d for d in devices if d.device_class in {"substation", "meter"}]
    names = [d.device for d in (*plants, *takes)]
    at = np.array([index.get(name, -1) for name in names], dtype=np.int64)
    on_return = any(d.mounting == "return" for d in plants)
    return _Members(names, at, len(plants), -1.0 if on_return else 1.0) if plants and takes else None


def _new_day(before: Any, members: _Members, day_ms: int) -> dict[str, Any]:
    """State of a day that begins, with what earlier ones taught of the same devices."""
    count = len(members.names)
    fresh = {name: [0.0] * count for name in _SUMS} | dict.fromkeys(_OF_NETWORK, 0.0)
    state = {"names": members.names, "day": day_ms, "sums": fresh, "recent": [], "raised": {}, "base": None}
    if before is not None and before["names"] == members.names:
        state |= {name: before[name] for name in ("recent", "raised", "base")}
    elif before is not None:
        # Other devices: all is learnt anew, but what was raised is remembered.
        state["raised"] = before["raised"]
    return state


def _add(state: dict[str, Any], members: _Members, settled: Settled, network: str) -> None:
    """Add a step to the day's sums, in place."""
    sums = state["sums"]
    heat, volume, hot, cold = _of(
        settled, "device_heat", ("heat_gj", "volume_m3", "supply_c", "return_c"), members
    )
    on_supply = np.append(settled.site.meters.on_supply, False)[members.index]
    mass = volume * density_kg_m3(np.where(on_supply, hot, cold)) * 1e-3
    mass = np.where(volume == 0.0, 0.0, mass)
    second, spread = _of(settled, "secondary_heat", ("heat_gj", "spread_k"), members)
    whole, both = ~np.isnan(heat + mass), ~np.isnan(heat + second)
    for name, value, known in (
        ("heat", heat, whole), ("mass", mass, whole), ("steps", np.ones(len(heat)), whole),
        ("primary", heat, both), ("second", second, both), ("spread", spread * heat, both),
        ("both", np.ones(len(heat)), both),
    ):  # fmt: skip
        sums[name] = _short(np.array(sums[name]) + np.where(known, value, 0.0))
    subjects = settled.subjects("network_heat")
    at = [n for n, s in enumerate(subjects.tolist()) if settled.networks[s] == network]
    if at and settled.final("network_heat")[at[0]]:
        terms = [settled("network_heat", f)[at[0]] for f in ("supplied_gj", "residual_gj", "loss_gj")]
        full = settled("network_heat", "coverage")[at[0]] > 1.0 - 0.2 * (1.0 - _MIN_DAY)
        if full and np.isfinite(terms).all():
            window_s = settled.site.site.networks[network].window_s
            steps = 1000.0 * window_s / STEP_MS
            for name, value in zip(_OF_NETWORK, (*terms, steps), strict=True):
                sums[name] += float(value)


def _of(settled: Settled, measurement: str, fields: Sequence[str], members: _Members) -> FloatArray:
    """Values of this step by field and member, NaN where there is no final row."""
    subjects, final = settled.subjects(measurement), settled.final(measurement)
    wide = np.full((len(fields), len(settled.site.ids) + 1), np.nan)
    for at, field in enumerate(fields):
        wide[at, subjects] = np.where(final, settled(measurement, field), np.nan)
    return np.asarray(wide[:, members.index])


def _signals(
    state: dict[str, Any], members: _Members, whole_steps: float
) -> tuple[FloatArray, FloatArray, Layout | None]:
    """Signals of the day with their levers, and shares of the meters; None where no plant was known."""
    sums = {name: np.array(value) for name, value in state["sums"].items()}
    plants, count = members.plants, len(members.names) - members.plants
    known = sums["steps"] >= _MIN_DAY * whole_steps
    value, lever = np.full((2, 2 + 2 * count), np.nan)
    heat = np.where(known, sums["heat"] / np.maximum(sums["steps"], 1.0), np.nan)
    mass = np.where(known, sums["mass"] / np.maximum(sums["steps"], 1.0), np.nan)
    given, taken = heat[:plants].sum(), mass[:plants].sum()
    if not (given > 0.0 and taken > 0.0):
        return value, lever, None
    if sums["windows"] >= _MIN_DAY * whole_steps:
        value[HEAT] = float(sums["residual"] / sums["supplied"])
        lever[HEAT] = float(sums["loss"] / sums["supplied"])
    value[WATER] = 1.0 - mass[plants:].sum() / taken  # NaN where one is not known
    twice = sums["both"][plants:] >= _MIN_DAY * whole_steps
    ahead, behind = sums["primary"][plants:], sums["second"][plants:]
    good = twice & (ahead > 0.0) & (behind > 0.0)
    value[2 : 2 + count] = np.log(np.where(good, behind / np.where(good, ahead, 1.0), np.nan))
    spread = sums["spread"][plants:] / np.where(good, ahead, 1.0)
    lever[2 : 2 + count] = np.where(good & (spread > 0.0), 1.0 / np.where(spread > 0.0, spread, 1.0), np.nan)
    consumed = heat[plants:]
    others = np.nansum(consumed) - consumed
    shared = (consumed > 0.0) & (others > 0.0) & (not np.isnan(consumed).any())
    value[2 + count :] = np.log(np.where(shared, consumed / np.where(shared, others, 1.0), np.nan))
    layout = Layout(
        heat[:plants] / given, np.nan_to_num(consumed) / given, np.nan_to_num(mass[plants:]) / taken,
        members.leak_sign,
    )  # fmt: skip
    return value, np.where(np.isnan(lever) & ~np.isnan(value), 0.0, lever), layout


def _ended_day(state: dict[str, Any], members: _Members, settled: Settled, network: str) -> list[Anomaly]:
    """Judge the day, learn from one that lies back far enough, and tell, in place."""
    _, end_ms = day_bounds_ms(state["day"], settled.site.site.timezone)
    value, lever, layout = _signals(state, members, (end_ms - state["day"]) / STEP_MS)
    count = len(members.names) - members.plants
    base = Baseline.empty(len(value)) if state["base"] is None else Baseline(*np.array(state["base"]))
    if layout is None:
        return []
    recent = [*state["recent"], [_short(value), _short(lever)]]
    days = np.array([[[np.nan if x is None else x for x in row] for row in day] for day in recent])
    found = find_steps(layout, base, days[:, 0], days[:, 1])
    if len(recent) > _RECENT_DAYS or base.count.max(initial=0.0) < LEARNING_DAYS:
        base = learnt(base, untouched(days[0, 0], found, count), days[0, 1])
        recent = recent[1:]
    state["recent"] = recent
    state["base"] = [_short(x) for x in astuple(base)]
    return _told(state, found, members, settled, network, end_ms)


def _told(
    state: dict[str, Any],
    found: tuple[Found, ...],
    members: _Members,
    settled: Settled,
    network: str,
    end_ms: int,
) -> list[Anomaly]:
    """Anomalies that are, and those that have ended; what was raised keeps its name."""
    raised: dict[str, list[Any]] = dict(state["raised"])
    told, seen = list[tuple[str, State]](), set[str]()
    registry = settled.site.site
    for step in found:
        if step.faults[0].kind is Kind.LEAK:
            continue  # no meter's fault: water is judged by the water balance
        subject, code, evidence = _named(step, members, network)
        name = f"{subject}:{code}"
        seen.add(name)
        onset_ms = state["day"] - 86_400_000 * (step.days - 1)
        first = raised.setdefault(name, [onset_ms, 0.0, {}])[0]
        score = step.ratio / step.needed
        raised[name] = [first, round(score, 3), evidence | {"onset_ms": onset_ms}]
        told.append((name, State.ACTIVE))
    told += [(n, State.ENDED) for n in raised if n not in seen]
    unit = registry.networks[network].unit
    rows = []
    for name, standing in told:
        first, score, evidence = raised[name]
        subject, code = name.rsplit(":", 1)
        size = abs(float(evidence.get("size", 0.0)))
        rows.append(Anomaly(
            subject, code, Severity.MAJOR if size >= 0.05 else Severity.MINOR, score, evidence, first,
            end_ms if standing is State.ACTIVE else state["day"], 86_400_000, unit,
            registry.units[unit].region, standing, f"meter_drift/{VERSION}",
        ))  # fmt: skip
        if standing is State.ENDED:
            del raised[name]
    state["raised"] = raised
    return rows


def _named(step: Found, members: _Members, network: str) -> tuple[str, str, dict[str, Any]]:
    """Subject, code and evidence of a step; a group that is too large is nobody."""
    suspects: list[str] = []
    for fault in step.faults:
        name = _suspect(fault, members, network)
        if name not in suspects:
            suspects.append(name)
    first = step.faults[0]
    located = len(suspects) <= _MOST_NAMED
    owner = _owner(first, members)
    subject = owner if located and owner else f"network:{network}"
    code = "sensor_bias" if first.kind in {Kind.HEAT_ONLY, Kind.LOSS} else "flow_meter_drift"
    evidence: dict[str, Any] = {
        "rule": "step of daily ratios against their own past (generalised likelihood ratio)",
        "size": round(step.sizes[0], 5), "size_u": round(step.size_u, 5), "days": step.days,
        "ratio": round(step.ratio, 1), "needed": round(step.needed, 1), "located": located,
        "suspects": suspects[:10], "suspects_count": len(suspects),
        "kinds": sorted({str(f.kind) for f in step.faults}),
    }  # fmt: skip
    return subject, code, evidence


def _owner(fault: Fault, members: _Members) -> str:
    """Device that a fault is of, empty for the network."""
    if fault.at >= 0:
        return members.names[members.plants + fault.at]
    return members.names[-2 - fault.at] if fault.at < -1 else ""


def _suspect(fault: Fault, members: _Members, network: str) -> str:
    """What a fault is called: one meter is one suspect, whatever of it is wrong."""
    owner = _owner(fault, members)
    if not owner:
        return f"network:{network} {fault.kind}"
    return f"{owner} secondary meter" if fault.kind is Kind.SECONDARY else owner


def _short(values: FloatArray) -> list[float | None]:
    """Numbers as JSON keeps them, to a few digits; None where there is none."""
    return [None if np.isnan(x) else float(f"{x:.{_DIGITS}g}") for x in values.tolist()]
