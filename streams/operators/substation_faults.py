"""Faults of substations and heat meters against each device's own past, and causes that many share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.anomaly import ANOMALY, Anomaly, Severity, State, anomaly_table
from models.branches import Branches, nearest
from models.fault_codes import CODES, SHARED_CAUSE
from models.fault_normal import LEARNING_DAYS
from models.fault_seen import Seen, Verdict
from models.fault_step import FaultStep, Samples, fault_step
from models.fault_watch import Watch, day_over, day_sums, judged, line_inputs, seen_of
from models.shared_cause import LEAST_CHILDREN, LEAST_SHARE, Child, Shared, grouped
from streams.core.local_days import day_bounds_ms
from streams.core.network_rows import STEP_MS, Settled
from streams.core.operator import learner
from streams.core.stream_site import StreamSite

__all__ = ["substation_faults"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

VERSION: Final = 1
CLASSES: Final = ("plant", "substation", "meter")
_EVENTS: Final = ("reset", "rollover", "exchange", "spike", "corrupt")
_AGAIN_MS: Final = 3_600_000
"""An anomaly that goes on is told again every hour."""
_MODEL: Final = f"substation_faults/{VERSION}"
_MANY: Final = 10
_BY_DAY: Final = frozenset({"high_return", "load_change"})
"""Said when the day is over: that they begin together says nothing of a cause."""
_DIGITS: Final = 4


@dataclass(frozen=True, slots=True)
class _Layout:
    """What the registry says of a stream's devices, once for as long as it stays the same."""

    site: StreamSite
    near: IntArray
    networks: Mapping[str, IntArray]


_layouts: list[_Layout] = []  # the newest alone: the same registry is asked step by step


def _layout(site: StreamSite) -> _Layout:
    if not (_layouts and _layouts[0].site is site):
        networks = {
            name: np.flatnonzero(site.owned & (site.networks == name)) for name in sorted(site.site.networks)
        }
        _layouts[:] = [_Layout(site, nearest(site.site, site.ids), networks)]
    return _layouts[0]


@learner(reads=("data_quality", "device_heat"), samples=CLASSES, version=VERSION, writes=ANOMALY, state=Watch)
def substation_faults(state: Watch | None, settled: Settled) -> tuple[Watch, pa.Table | None]:
    """Ask every rule, learn what is normal, and tell of episodes that begin, go on and end."""
    site, layout = settled.site, _layout(settled.site)
    count = len(site.ids)
    watch = (state or Watch()).grown(count)
    if (
        not any(c.rows.n for c in settled.samples.values())
        and not (watch.episodes.active & ~site.owned).any()
    ):
        return _day(watch, settled, layout), None  # nobody spoke: nothing changes but the day
    step = fault_step(_samples(settled), count, watch.kept)
    meters = site.meters
    seen = seen_of(
        watch, step, _outdoor_c(step, layout), meters.qp_m3_h, meters.dt_min_k, meters.return_ref_c
    )
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        watch, x, y = line_inputs(watch, step, seen, _reference_c(seen, layout))
        seen = replace(seen, kept=watch.kept)
        span = (settled.start_ms, settled.end_ms)
        events, gap = _counter_events(settled, step, watch)
        watch = day_sums(watch, seen, _excess_m3(settled), events)
        watch, verdicts, begun, over = judged(
            watch, seen, events, gap, x, y, span, lambda off: _beside(off, layout)
        )
        seen = replace(seen, normal=watch.normal)
        episodes, gone = watch.episodes.without(~site.owned)
        watch, over = replace(watch, episodes=episodes), [*over, *gone]
        watch, told = _told(watch, seen, verdicts, over, begun, settled)
        watch, causes = _shared(watch, settled)
        watch = _day(watch, settled, layout)
    rows = [*told, *causes]
    return watch, anomaly_table(rows, settled.stream) if rows else None


def _samples(settled: Settled) -> list[Samples]:
    meters = settled.site.meters
    return [
        Samples(
            c.rows.device, c.rows.t, c.columns, c.rows.values, meters.on_supply, meters.qp_m3_h,
            meters.dt_min_k, meters.interval_ms,
        )
        for c in settled.samples.values()
    ]  # fmt: skip


def _outdoor_c(step: FaultStep, layout: _Layout) -> FloatArray:
    """Median of what a network's devices say of the weather."""
    out = np.full(step.count, np.nan)
    for members in layout.networks.values():
        told = step["outdoor_c"][members]
        told = told[~np.isnan(told)]
        if len(told):
            out[members] = np.median(told)
    return out


def _reference_c(seen: Seen, layout: _Layout) -> FloatArray:
    """Median of the supplies of the nearest consumers through which water flows; of three at least."""
    supply = np.append(np.where(seen.carrying, seen["supply_c"], np.nan), np.nan)
    near = np.sort(supply[layout.near], axis=1)
    known = (~np.isnan(near)).sum(axis=1)
    rows = np.arange(len(near))
    last = near.shape[1] - 1
    low, high = np.clip((known - 1) // 2, 0, last), np.clip(known // 2, 0, last)
    middle = (near[rows, low] + near[rows, high]) / 2.0
    return np.asarray(np.where(known >= 3, middle, np.nan))


def _beside(off: FloatArray, layout: _Layout) -> FloatArray:
    """How far each is off its network's middle, in median deviations (scaled as of a normal law)."""
    out = np.full(len(off), np.nan)
    for members in layout.networks.values():
        known = members[~np.isnan(off[members])]
        if len(known) >= 5:
            middle = np.median(off[known])
            deviation = np.median(np.abs(off[known] - middle))
            out[known] = (off[known] - middle) / max(1.4826 * float(deviation), 0.05)
    return out


def _counter_events(
    settled: Settled, step: FaultStep, watch: Watch
) -> tuple[dict[str, FloatArray], NDArray[np.bool_]]:
    """Events of counters in the step by device, and whether the meter was gone just before."""
    subjects = settled.subjects("data_quality")
    events = {}
    for name in _EVENTS:
        events[name] = np.zeros(step.count)
        events[name][subjects] = np.nan_to_num(settled("data_quality", f"counter_{name}"))
    gap_s = (settled.start_ms - watch.kept["t"]) / 1000.0
    away = np.minimum(step["metered_share"], np.nan_to_num(watch.kept["metered"], nan=1.0)) < 0.9
    late = gap_s * 1000.0 > np.maximum(3.0 * settled.site.meters.interval_ms, 300_000.0)
    return events, np.asarray(away | late)


def _excess_m3(settled: Settled) -> FloatArray:
    out = np.zeros(len(settled.site.ids))
    subjects = settled.subjects("device_heat")
    out[subjects] = np.nan_to_num(settled("device_heat", "excess_m3"))
    return out


def _day(watch: Watch, settled: Settled, layout: _Layout) -> Watch:
    """Close the local day where the step ends it, or where one was left open."""
    day_ms, end_ms = day_bounds_ms(settled.start_ms, settled.site.site.timezone)
    if settled.end_ms >= end_ms:
        return replace(day_over(watch, tuple(layout.networks.values())), day_ms=end_ms)
    if watch.day_ms not in {-1, day_ms}:
        return replace(day_over(watch, tuple(layout.networks.values())), day_ms=day_ms)
    return watch if watch.day_ms == day_ms else replace(watch, day_ms=day_ms)


def _told(
    watch: Watch, seen: Seen, verdicts: Sequence[Verdict], over: Sequence[tuple[str, int]],
    begun: Sequence[tuple[str, int]], settled: Settled,
) -> tuple[Watch, list[Anomaly]]:  # fmt: skip
    """Anomalies that begin, that go on, every hour, and that are over."""
    told, rows = dict(watch.told), list[Anomaly]()
    hourly = settled.end_ms % _AGAIN_MS < STEP_MS
    fresh = set(begun)
    for code, device in watch.episodes.standing():
        new = (code, device) in fresh
        if not new and not (hourly and watch.episodes.shown(code, device)):
            continue
        name = f"{settled.site.ids[device]}:{code}"
        since, until = watch.episodes.span(code, device)
        score, evidence = _evidence(code, device, seen, verdicts)
        first = since if new else told[name][0]
        of = str(settled.site.units[device]), str(settled.site.regions[device])
        told[name] = [first, score, evidence, *of]
        rows.append(_anomaly(name, told[name], until, State.ACTIVE))
    for code, device in over:
        name = f"{settled.site.ids[device]}:{code}"
        until = watch.episodes.span(code, device)[1]
        rows.append(_anomaly(name, told.pop(name), until, State.ENDED))
    return replace(watch, told=told), rows


def _evidence(
    code: str, device: int, seen: Seen, verdicts: Sequence[Verdict]
) -> tuple[float, dict[str, Any]]:
    """Score, numbers, window, rule, and what it costs to leave it."""
    about = CODES[code]
    mine = [v for v in verdicts if v.code == code]
    verdict = next((v for v in mine if v.on[device]), mine[0])
    days = float(seen.normal.days[device])
    evidence: dict[str, Any] = {
        "rule": about.rule,
        "numbers": {
            name: _short(value[device])
            for name, value in verdict.numbers.items()
            if not np.isnan(value[device])
        },
        "window_s": STEP_MS // 1000 * about.need,
        "learning": days < LEARNING_DAYS,
        "learnt_days": int(days),
        "cost_of": about.lost,
    }
    cost = np.nan if verdict.cost is None else float(verdict.cost[device])
    evidence["cost_m3_day" if about.unit == "m3" else "cost_gj_day"] = _short(cost)
    score = float(verdict.score[device])
    return (max(float(f"{score:.4g}"), 1.0) if np.isfinite(score) else 1.0), evidence


def _anomaly(name: str, told: Sequence[Any], until_ms: int, standing: State) -> Anomaly:
    """A row by what is kept of it: where its device belonged stands there, should it be gone by now."""
    subject, code = name.rsplit(":", 1)
    first, score, evidence, unit, region = told
    return Anomaly(
        subject, code, CODES[code].severity, score, evidence, first, until_ms, STEP_MS,
        unit, region, standing, _MODEL,
    )  # fmt: skip


def _shared(watch: Watch, settled: Settled) -> tuple[Watch, list[Anomaly]]:
    """Causes that children of one branch have in common: new ones, those that grew, those that are over."""
    if not watch.told and not watch.shared:
        return watch, []
    standing: dict[str, list[Child]] = {}
    for code, device in watch.episodes.standing():
        if code in _BY_DAY:
            continue
        name = settled.site.ids[device]
        first, _, evidence, *_ = watch.told[f"{name}:{code}"]
        child = Child(name, code, first, evidence.get("cost_gj_day"))
        standing.setdefault(str(settled.site.networks[device]), []).append(child)
    rows, kept = list[Anomaly](), dict[str, list[Any]]()
    for network in sorted({*standing, *watch.shared} & {*settled.site.site.networks}):
        known = [Shared(*s) for s in watch.shared.get(network, ())]
        mine = standing.get(network, [])
        keys = {c.key for c in mine}
        causes = grouped(network, mine, known, partial(Branches, settled.site.site, network))
        lives = [c for c in causes if any(c.key_of(d) in keys for d in c.children)]
        if lives:
            kept[network] = [
                [c.network, c.pipe, c.node, c.first_ms, c.members, dict(c.children)] for c in lives
            ]
        if lives != known:
            # Branches that were hit at once are one event.
            for first in sorted({c.first_ms for c in causes}):
                rows.append(_cause([c for c in causes if c.first_ms == first], lives, settled))
    return replace(watch, shared=kept), rows


def _cause(causes: Sequence[Shared], lives: Sequence[Shared], settled: Settled) -> Anomaly:
    """One event of a network, of the branches that were hit at the same time."""
    first = causes[0]
    children = {device: child for c in causes for device, child in c.children.items()}
    costs = [c[2] for c in children.values() if c[2] is not None]
    codes = [code for code, _ in Counter(sorted(str(c[0]) for c in children.values())).most_common()]
    members = sum(c.members for c in causes)
    evidence = {
        "rule": f"at least {LEAST_CHILDREN} consumers and {LEAST_SHARE:.0%} of a branch within half an hour",
        "branches": [{"pipe": c.pipe or None, "node": c.node or None, "members": c.members} for c in causes],
        "members": members, "code": codes[0], "codes": codes, "devices": sorted(children),
        "children": sorted(c.key_of(d) for c in causes for d in c.children),
        "cost_of": "what its children cost together", "cost_gj_day": _short(sum(costs)) if costs else None,
    }  # fmt: skip
    registry = settled.site.site
    unit = registry.networks[first.network].unit
    grave = len(children) >= _MANY or any(CODES[c].severity == Severity.CRITICAL for c in codes)
    on = any(c in lives for c in causes)
    return Anomaly(
        f"network:{first.network}", SHARED_CAUSE, Severity.CRITICAL if grave else Severity.MAJOR,
        max(len(children) / max(LEAST_SHARE * members, LEAST_CHILDREN), 1.0), evidence, first.first_ms,
        settled.end_ms if on else settled.start_ms, STEP_MS, unit, registry.units[unit].region,
        State.ACTIVE if on else State.ENDED, _MODEL,
    )  # fmt: skip


def _short(value: Any) -> float | None:
    """Four digits; None for what is not known."""
    number = float(value)
    return float(f"{number:.{_DIGITS}g}") if np.isfinite(number) else None
