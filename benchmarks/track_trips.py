"""Trips and arrivals of recorded and simulated vehicles: a part of ``python -m benchmarks tracks``."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.track_data import Recording, route_of, states_of, stood_s
from models.corridor import along, given
from models.eta import LaneTimes, PastTrip, arrival, progress
from models.motion import Motion, Run
from models.places import crossings
from models.position_filter import Fixes, believed, in_order
from models.site import Site
from simulator.case import parse
from simulator.simulate import run as run_case

FloatArray = NDArray[np.float64]
END = (53.4620, -2.8950)
"""The last stop of the recorded route. [°]"""
ON_THE_WAY = (0.4, 0.45, 0.5, 0.55, 0.6)
"""Shares of the way at which arrivals are foretold, half-way among them."""


@dataclass(frozen=True)
class Foretold:
    """One arrival that was foretold at a share of the way. [s] after departure but for `share`."""

    share: float
    true_s: float
    p10_s: float
    p50_s: float
    p90_s: float
    plain_s: float


def foretold(trips: list[PastTrip], least: int, shares: Iterable[float] = ON_THE_WAY) -> list[Foretold]:
    """Each trip on its way, from those that had arrived before; plain is distance over speed so far."""
    found = []
    known: dict[int, LaneTimes] = {}
    arrived = np.sort([t.arrived_ms for t in trips])
    for trip in trips:
        if len(trip.share) < 2 or trip.begins > 0.3:
            continue
        for share in shares:
            now = float(np.interp(share, np.maximum.accumulate(trip.share), trip.at_ms))
            count = int(np.searchsorted(arrived, now))
            if count < least:
                continue
            if count > 50:  # learnt again once in ten trips
                count = count // 10 * 10
            if count not in known:
                known[count] = LaneTimes.of(sorted(trips, key=lambda t: t.arrived_ms)[:count])
            lane = known[count]
            eta = arrival(lane, trip.departed_ms, int(now), share)
            if np.isnan(eta.p50_ms):
                continue
            plain = now + (now - trip.departed_ms) * (1.0 - share) / (share - trip.begins)
            times = (trip.arrived_ms, eta.p10_ms, eta.p50_ms, eta.p90_ms, plain)
            found.append(Foretold(share, *((t - trip.departed_ms) / 1000.0 for t in times)))
    return found


def told(name: str, found: Iterable[Foretold]) -> None:
    """Print how good arrivals were foretold."""
    found = list(found)
    if not found:
        print(f"{name}: none")
        return
    column = {f: np.array([getattr(x, f) for x in found]) for f in Foretold.__dataclass_fields__}
    off, plain = (np.abs(column[c] - column["true_s"]) for c in ("p50_s", "plain_s"))
    inside = (column["true_s"] >= column["p10_s"]) & (column["true_s"] <= column["p90_s"])
    loss = []
    for q, c in ((0.1, "p10_s"), (0.5, "p50_s"), (0.9, "p90_s")):
        more = column["true_s"] - column[c]
        loss.append(f"{np.maximum(q * more, (q - 1.0) * more).mean():.0f}")
    print(
        f"{name}: {len(found)} foretold; MAE {off.mean():.0f} s, distance over speed {plain.mean():.0f} s; "
        f"P10 to P90 holds {100 * inside.mean():.0f} %; pinball 10/50/90 {'/'.join(loss)} s"
    )


def trips_of(mine: list[Run], rest_s: float = 600.0) -> list[tuple[int, int]]:
    """Trips of one vehicle: from when it is heard of until it rests for `rest_s` or is out of reach.

    A stand before it sets out belongs to the trip, as one on the way does. From, until [ms].
    """
    found: list[list[int]] = []
    for run in mine:
        if run.motion is Motion.OFFLINE or (
            run.motion is Motion.STOPPED and run.to_ms - run.from_ms > 1000 * rest_s
        ):
            continue
        if found and found[-1][1] == run.from_ms:
            found[-1][1] = run.to_ms
        else:
            found.append([run.from_ms, run.to_ms])
    return [(a, b) for a, b in found]


def route(recordings: Path) -> None:
    recording = route_of(recordings)
    known = states_of(recording.fixes())
    true = {}
    for trip in sorted(set(recording.trip)):
        at = [n for n, x in enumerate(recording.trip) if x == trip]
        t = recording.t_ms[at]
        true[trip] = (int(recording.truck[at[0]]), int(t.min()), int(t.max()))
    right = 0
    for trip, (who, begin, end) in true.items():
        found = trips_of(known[who])
        near = min(found, key=lambda x: abs(x[0] - begin) + abs(x[1] - end), default=(0, 0))
        off = (near[0] - begin) / 1000.0, (near[1] - end) / 1000.0
        right += max(abs(off[0]), abs(off[1])) <= 120.0
        print(f"  trip {trip}: start off by {off[0]:+.0f} s, end by {off[1]:+.0f} s")
    count = sum(len(trips_of(m)) for m in known.values())
    print(
        f"trips from positions alone: {count} found, {len(true)} true; "
        f"start and end within 2 minutes: {right} of {len(true)}"
    )
    _route_arrivals(recording, true)


def _route_arrivals(recording: Recording, true: dict[str, tuple[int, int, int]]) -> None:
    """Arrivals at the end of the route, along the way of the earliest trip that goes from end to end."""
    kept, _, _ = believed(recording.fixes())
    paths = {}
    for trip, (who, begin, end) in true.items():
        mine = (kept.truck == who) & (kept.t_ms >= begin) & (kept.t_ms <= end)
        paths[trip] = (kept.t_ms[mine], kept.lat_deg[mine], kept.lon_deg[mine])

    def ends(path: tuple[NDArray[np.int64], FloatArray, FloatArray]) -> bool:
        return bool(np.hypot(path[1][-1] - END[0], path[2][-1] - END[1]) < 0.002)

    whole = [p for p in paths.values() if ends(p) and p[1][0] < 53.41]
    first = min(whole, key=lambda p: p[0][-1])
    line = given(first[1], first[2], 150.0)
    ways = []
    for path in paths.values():
        at, _, _ = along(line, path[1], path[2])
        share = np.maximum.accumulate(at) / line.length_m
        ways.append((path[0], np.append(share[:-1], 1.0) if ends(path) else share))
    for targets, name in (
        ((1.0,), "the end"),
        ((0.7, 0.8, 0.9, 1.0), "stops at 70, 80, 90 and 100 % of the way"),
    ):
        found = []
        for target in targets:
            trips = [_cut(t, share, target) for t, share in ways if share[-1] >= target]
            found += foretold(sorted(trips, key=lambda t: t.arrived_ms), 5, (0.5 / target,))
        told(f"route, {name} foretold at half-way from buses that had been there", found)


def _cut(t_ms: NDArray[np.int64], share: FloatArray, target: float) -> PastTrip:
    """A trip up to where it first had `target` of the way behind it."""
    end = int(np.interp(target, share, t_ms.astype(np.float64)))
    before = t_ms <= end
    begins = float(share[0]) / target if share[0] > 0.1 else 0.0
    return PastTrip(int(t_ms[0]), end, t_ms[before], share[before] / target, begins)


CASE = """seed = {seed}
start = 2026-01-05T00:00:00+08:00
hours = {hours}
interval_s = 300
[logistics]
mines = 2
plants = 1
trucks = {trucks}
contracts = 3
lane_km = [40, 90]
jam_share = 0.02
[logistics.gps]
interval_s = 30
parked_interval_s = 300
fixes_a_message = 5
noise_m = 4.0
outage_share = 0.02
stale_share = 0.2
stale_years_share = 0.05
zero_share = 0.001
jump_share = 0.0005
"""


@dataclass(frozen=True)
class Simulated:
    """A simulated fleet: what its boxes said, and the truth."""

    names: list[str]
    fixes: Fixes
    places: list[Any]
    trips: list[dict[str, Any]]
    stops: list[dict[str, Any]]
    outages: dict[str, list[tuple[int, int]]]
    wrong: int


def _no_site(name: str) -> Site:
    raise FileNotFoundError(name)


def simulate(seed: int, hours: float, trucks: int) -> Simulated:
    """Simulate a fleet."""
    case = parse("tracks.toml", CASE.format(seed=seed, hours=hours, trucks=trucks), _no_site)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        run_case(case, out)
        rows: list[tuple[str, int, float, float]] = []
        table = pq.read_table(out / "telemetry.parquet", columns=["topic", "payload"])
        for topic, payload in zip(table["topic"].to_pylist(), table["payload"].to_pylist(), strict=True):
            device, kind = topic.split("/")[-2:]
            if kind == "telemetry" and '"lat_deg"' in payload:
                rows += [(device, s["t"], s["lat_deg"], s["lon_deg"]) for s in json.loads(payload)["samples"]]
        truth = {
            n: pq.read_table(out / f"truth_{n}.parquet").to_pylist()
            for n in ("trip", "stop", "outage", "fix")
        }
    names = sorted({r[0] for r in rows})
    number = {name: at for at, name in enumerate(names)}
    late = [r for r in rows if r[1] >= case.start_ms]  # what is years old never comes past the door
    fixes = in_order(
        np.array([number[r[0]] for r in late]), np.array([r[1] for r in late]),
        np.array([r[2] for r in late]), np.array([r[3] for r in late]),
    )  # fmt: skip
    outages = defaultdict(list)
    for o in truth["outage"]:
        if not o["backfilled"]:
            outages[o["device"]].append((o["start_ms"], o["until_ms"]))
    places = [case.site.places[p] for p in sorted(case.site.places)]
    return Simulated(names, fixes, places, truth["trip"], truth["stop"], outages, len(truth["fix"]))


def _out(world: Simulated, device: str, from_ms: int, to_ms: int) -> bool:
    return any(a < to_ms and b > from_ms for a, b in world.outages[device])


def simulated(seed: int = 90_001, hours: float = 192.0, trucks: int = 24) -> None:
    """Score states, crossings and arrivals against the truth of a simulated fleet."""
    world = simulate(seed, hours, trucks)
    print(
        f"simulated: {trucks} trucks, {hours:.0f} h, {len(world.fixes.truck)} fixes; {world.wrong} stale, "
        f"years old (those stay at the door), at (0, 0) or 500 km off; seed {seed}"
    )
    _score_states(world)
    kept, _, _ = believed(world.fixes)
    _score_crossings(world, kept)
    _score_arrivals(world, kept)


def _score_states(world: Simulated) -> None:
    """By minutes: on loaded ways, and in stands of over 2 minutes; the truth lists no other movement."""
    known = states_of(world.fixes)
    stands: dict[str, list[list[Any]]] = defaultdict(list)
    ways: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for stop in sorted(world.stops, key=lambda s: s["start_ms"]):
        mine = stands[stop["device"]]
        if mine and stop["start_ms"] - mine[-1][1] < 5_000:  # from the queue onto the bridge
            mine[-1][1] = max(mine[-1][1], stop["until_ms"])
        else:
            mine.append([stop["start_ms"], stop["until_ms"]])
    for trip in world.trips:
        if trip["departed_ms"] and trip["arrived_ms"]:
            ways[trip["device"]].append((trip["departed_ms"], trip["arrived_ms"]))
    minutes = {True: np.zeros(3, np.int64), False: np.zeros(3, np.int64)}
    found = stops = 0
    for who, name in enumerate(world.names):
        states, true = known[who], np.array(stands[name])
        at = np.arange(states[0].from_ms, states[-1].to_ms, 60_000)
        said = np.array([int(s.motion) for s in states])[
            np.searchsorted([s.from_ms for s in states], at, side="right") - 1
        ]
        long = true[true[:, 1] - true[:, 0] > 120_000]
        standing, any_stand = _within(at, long), _within(at, true)
        driving = _within(at, np.array(sorted(ways[name]))) & ~any_stand
        for stands_now, which in ((True, standing), (False, driving)):
            minutes[stands_now] += np.bincount(said[which], minlength=3)
        for begin, end in long:
            if end - begin > 300_000 and begin > at[0] and end < at[-1] and not _out(world, name, begin, end):
                stops += 1
                found += 1000.0 * stood_s(states, begin, end) > 0.5 * (end - begin)
    for stands_now, counts in minutes.items():
        right = counts[Motion.STOPPED if stands_now else Motion.DRIVING]
        print(
            f"  minutes {'of stands' if stands_now else 'of driving with a load'}: {counts.sum()}, said so "
            f"{100 * right / counts[:2].sum():.2f} %, {100 * counts[2] / counts.sum():.1f} % out of reach"
        )
    print(f"  stops over 5 minutes, none in an outage: {stops}, found {found}")


def _within(at: NDArray[np.int64], spans: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which times lie in one of sorted spans."""
    place = np.searchsorted(spans[:, 0], at, side="right") - 1
    return np.asarray((place >= 0) & (at < spans[np.maximum(place, 0), 1]))


def _score_crossings(world: Simulated, kept: Fixes) -> None:
    crossed = crossings(world.places, kept)
    names = [p.place for p in world.places]
    off, lost = [], 0
    for trip in world.trips:
        for place, enters, t in (
            (trip["origin"], False, trip["departed_ms"]),
            (trip["destination"], True, trip["arrived_ms"]),
        ):
            if t is None or t > kept.t_ms.max() or _out(world, trip["device"], t - 300_000, t + 300_000):
                continue
            mine = (crossed.truck == world.names.index(trip["device"])) & (crossed.enters == enters)
            near = np.abs(crossed.t_ms[mine & (crossed.place == names.index(place))] - t)
            if len(near) and near.min() <= 1_800_000:
                off.append(near.min() / 1000.0)
            else:
                lost += 1
    print(f"  leaving origins and entering destinations: {len(off) + lost}, within 2 minutes "
          f"{sum(x <= 120 for x in off)}, median off by {np.median(off):.0f} s, not seen {lost}")  # fmt: skip


def _score_arrivals(world: Simulated, kept: Fixes) -> None:
    by_place = {p.place: p for p in world.places}
    lanes = defaultdict(list)
    for trip in world.trips:
        begin, end = trip["departed_ms"], trip["arrived_ms"]
        if begin is None or end is None or end > kept.t_ms.max():
            continue
        mine = (kept.truck == world.names.index(trip["device"])) & (kept.t_ms >= begin) & (kept.t_ms <= end)
        share = progress(
            kept.lat_deg[mine], kept.lon_deg[mine], by_place[trip["origin"]], by_place[trip["destination"]]
        )
        lanes[trip["origin"], trip["destination"]].append(PastTrip(begin, end, kept.t_ms[mine], share))
    found = [x for mine in lanes.values() for x in foretold(sorted(mine, key=lambda t: t.arrived_ms), 20)]
    told("  arrivals foretold at half-way from trips that had ended", (x for x in found if x.share == 0.5))
    told("  the same at 40 to 60 % of the way", found)


if __name__ == "__main__":
    simulated()
