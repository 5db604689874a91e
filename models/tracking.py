"""States of trucks as their fixes come in, step after step: cutting the fixes up changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, field, fields, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from models.motion import LOOKS_MS, LOST_MS, SILENT_MS, Motion, Run, Steps, runs_of, steps
from models.packing import packed, unpacked
from models.position_filter import Fault, FilterState, Fixes, follow
from models.standing import Standing

__all__ = ["Tracking", "silence"]

IntArray = NDArray[np.int64]
_NEVER: Final = np.iinfo(np.int64).min


def _no_fixes() -> Fixes:
    return Fixes(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0))


@dataclass(frozen=True, slots=True)
class Tracking:
    """What is known of all trucks. Never changed in place.

    Attributes
    ----------
    filter : FilterState
    tail : Fixes
        Believed fixes that are still looked at: of every truck at least the last.
    broken : ndarray of bool
        Before which of these the truck cannot have driven there.
    decided_ms : ndarray of int64
        By truck: what it did is decided until then. [ms UTC]
    standing : mapping of int to Standing
        By truck, of what is decided.
    """

    filter: FilterState = field(default_factory=FilterState.none)
    tail: Fixes = field(default_factory=_no_fixes)
    broken: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
    decided_ms: IntArray = field(default_factory=lambda: np.empty(0, np.int64))
    standing: Mapping[int, Standing] = field(default_factory=dict)

    def after(self, fixes: Fixes) -> tuple[Tracking, dict[int, list[Run]], NDArray[np.int8]]:
        """Take in fixes, all later than those before of their trucks, sorted, repeats removed.

        Returns
        -------
        tracking : Tracking
        ended : dict of int to list of Run
            States that ended, by truck.
        fault : ndarray of int8
            Of each fix.
        """
        if not len(fixes.truck):
            return self, {}, np.empty(0, np.int8)
        state, filtered = follow(self.filter, fixes)
        good = filtered.fault == Fault.NONE
        truck = np.concatenate([self.tail.truck, fixes.truck[good]])
        t_ms = np.concatenate([self.tail.t_ms, fixes.t_ms[good]])
        order = np.lexsort((t_ms, truck))
        lat = np.concatenate([self.tail.lat_deg, filtered.lat_deg[good]])[order]
        lon = np.concatenate([self.tail.lon_deg, filtered.lon_deg[good]])[order]
        known = Fixes(truck[order], t_ms[order], lat, lon)
        broken = np.concatenate([self.broken, filtered.broken[good]])[order]
        more = max(0, len(state.t_ms) - len(self.decided_ms))
        decided_ms = np.append(self.decided_ms, np.full(more, _NEVER))
        made, open_ = _split(known, broken, decided_ms)
        standing, ended = dict(self.standing), dict[int, list[Run]]()
        for each, runs in _by_truck(made):
            standing[each], over = standing.get(each, Standing()).after(runs)
            if over:
                ended[each] = over
        np.maximum.at(decided_ms, made.truck, made.to_ms)
        keep = _looked_at(known, open_)
        tail = Fixes(known.truck[keep], known.t_ms[keep], known.lat_deg[keep], known.lon_deg[keep])
        return Tracking(state, tail, broken[keep], decided_ms, standing), ended, filtered.fault

    def newest_ms(self, truck: IntArray) -> IntArray:
        """Time of the newest fix of each of `truck` that was taken in, least int64 where there is none."""
        known = np.maximum(self.filter.t_ms, self.filter.other_t_ms)
        return np.append(known, _NEVER)[np.minimum(truck, len(known))]

    def at(self, now_ms: int, trucks: Iterable[int] | None = None) -> dict[int, list[Run]]:
        """States not over yet, by truck, as they look at `now_ms`: the last of each is in progress."""
        _, open_ = _split(self.tail, self.broken, self.decided_ms)
        pending = dict(_by_truck(open_))
        last = np.flatnonzero(np.append(self.tail.truck[1:] != self.tail.truck[:-1], True))[
            : len(self.tail.truck)
        ]
        wanted = None if trucks is None else set(trucks)
        found: dict[int, list[Run]] = {}
        for at in last.tolist():
            truck = int(self.tail.truck[at])
            if wanted is not None and truck not in wanted:
                continue
            where = (float(self.tail.lat_deg[at]), float(self.tail.lon_deg[at]))
            standing, ended = self.standing.get(truck, Standing()).after(pending.get(truck, ()))
            quiet = silence(standing.current, int(self.tail.t_ms[at]), now_ms, *where)
            if quiet is not None:
                standing, over = standing.after([quiet])
                ended += over
            if standing.current is not None:
                found[truck] = [*ended, standing.current]
        return found

    def to_bytes(self) -> bytes:
        """All of it; `from_bytes` reads it."""
        kept = {
            "filter": [packed(getattr(self.filter, f.name)) for f in fields(self.filter)],
            "tail": [packed(getattr(self.tail, f.name)) for f in fields(self.tail)],
            "broken": packed(self.broken),
            "decided_ms": packed(self.decided_ms),
            "standing": [
                [
                    truck,
                    *(
                        None if run is None else [int(run.motion), *astuple(run)[1:]]
                        for run in (s.state, s.run)
                    ),
                ]
                for truck, s in sorted(self.standing.items())
            ],
        }
        return json.dumps(kept).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote."""
        kept = json.loads(data)
        standing = {
            truck: Standing(*(None if run is None else Run(Motion(run[0]), *run[1:]) for run in pair))
            for truck, *pair in kept["standing"]
        }
        return cls(
            FilterState(*(unpacked(text) for text in kept["filter"])),
            Fixes(*(unpacked(text) for text in kept["tail"])),
            unpacked(kept["broken"]), unpacked(kept["decided_ms"]), standing,
        )  # fmt: skip


def silence(state: Run | None, last_ms: int, now_ms: int, lat_deg: float, lon_deg: float) -> Run | None:
    """The time out of reach that there is to tell of a truck whose last fix is so old, if any."""
    stands = state is not None and state.motion is Motion.STOPPED
    if now_ms - last_ms <= (SILENT_MS if stands else LOST_MS):
        return None
    return Run(Motion.OFFLINE, last_ms, now_ms, 0.0, lat_deg, lon_deg)


def _split(known: Fixes, broken: NDArray[np.bool_], decided_ms: IntArray) -> tuple[Steps, Steps]:
    """Steps that are not decided yet: those that can be, and those that later fixes may change."""
    every = steps(known, broken)
    newest = np.full(len(decided_ms), _NEVER)
    newest[known.truck] = known.t_ms  # sorted: the last stands
    new = every.to_ms > decided_ms[every.truck]
    middle = (every.from_ms + every.to_ms) // 2
    done = (every.motion == Motion.OFFLINE) | (middle + LOOKS_MS < newest[every.truck])
    return _taken(every, new & done), _taken(every, new & ~done)


def _taken(every: Steps, which: NDArray[np.bool_]) -> Steps:
    return replace(every, **{f.name: getattr(every, f.name)[which] for f in fields(every)})


def _by_truck(made: Steps) -> Iterable[tuple[int, list[Run]]]:
    truck, runs = runs_of(made)
    found: dict[int, list[Run]] = {}
    for each, run in zip(truck.tolist(), runs, strict=True):
        found.setdefault(each, []).append(run)
    return found.items()


def _looked_at(known: Fixes, open_: Steps) -> IntArray:
    """Fixes that a window of a step that is not decided, or still to come, may reach, by place."""
    last = np.append(known.truck[1:] != known.truck[:-1], True)
    trucks = int(known.truck.max()) + 1
    from_ms = np.full(trucks, np.iinfo(np.int64).max)
    from_ms[known.truck[last]] = known.t_ms[last]
    np.minimum.at(from_ms, open_.truck, open_.from_ms)
    reached = known.t_ms >= from_ms[known.truck] - LOOKS_MS
    # One more before these: between it and the next a position is interpolated.
    same = known.truck[1:] == known.truck[:-1]
    reached[:-1] |= reached[1:] & same
    return np.flatnonzero(reached)
