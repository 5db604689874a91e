"""Driving, stops, trips and arrivals from positions: ``python -m benchmarks tracks``.

Recordings by HEARTHLINE_RECORDINGS (docs/recordings.md), then simulated fleets.
"""

from __future__ import annotations

import os
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from benchmarks import track_speed, track_trips
from benchmarks.machine import machine
from benchmarks.track_data import plain_stops, resent, states_of, stood_s, trucks_of
from benchmarks.usage import without_options
from models import motion
from models.motion import Motion, driving_score
from models.position_filter import EARTH_M, Fixes, believed

FloatArray = NDArray[np.float64]
DECEMBER_MS = 1_446_336_000_000
"""November 2015, when the recording of heavy trucks begins; earlier fixes are years old. [ms UTC]"""
HELD_OUT = 4
"""Of the labelled tracks in the order of names, from 0: those whose place is this modulo 5 are held out."""
ABOUT_DEG = 10.0
"""Where the hidden centre of the labelled tracks is put; anywhere but at the origin would do. [°]"""


@dataclass(frozen=True)
class Labelled:
    """A labelled track."""

    fixes: Fixes
    driving: NDArray[np.bool_]


def labelled(recordings: Path) -> list[Labelled]:
    """Every labelled track, by name."""
    found = []
    with zipfile.ZipFile(recordings / "drive_labels" / "trajectories.zip") as archive:
        for name in sorted(n for n in archive.namelist() if n.endswith(".csv")):
            rows = [line.split(",") for line in archive.read(name).decode().splitlines()[1:]]
            t = np.array([np.datetime64(r[0]) for r in rows]).astype("datetime64[ms]").astype(np.int64)
            x, y = (np.array([float(r[column]) for r in rows]) for column in (1, 2))
            lat = ABOUT_DEG + np.degrees(y / EARTH_M)
            lon = ABOUT_DEG + np.degrees(x / (EARTH_M * np.cos(np.radians(ABOUT_DEG))))
            fixes = Fixes(np.zeros(len(t), np.int64), t, lat, lon)
            found.append(Labelled(fixes, np.array([r[3] == "Driving" for r in rows])))
    return found


def scored(track: Labelled) -> FloatArray:
    """The driving score at each fix of a track."""
    n = len(track.fixes.t_ms)
    first, last = np.zeros(n, np.int64), np.full(n, n - 1)
    return driving_score(track.fixes, first, last, track.fixes.t_ms.astype(np.float64))


def accuracy(tracks: list[Labelled]) -> tuple[float, float]:
    """Accuracy, and F1 of driving."""
    said = np.concatenate([scored(x) > 0.0 for x in tracks])
    true = np.concatenate([x.driving for x in tracks])
    return float((said == true).mean()), float(2 * (said & true).sum() / (said.sum() + true.sum()))


def refitted(tracks: list[Labelled]) -> FloatArray:
    """Bias and weights of the driving score, fitted again."""
    columns = []
    for track in tracks:
        n = len(track.fixes.t_ms)
        first, last = np.zeros(n, np.int64), np.full(n, n - 1)
        columns.append(motion.log_speeds(track.fixes, first, last, track.fixes.t_ms.astype(np.float64)))
    about = np.vstack([np.ones(sum(c.shape[1] for c in columns)), np.concatenate(columns, axis=1)]).T
    true = np.concatenate([x.driving for x in tracks]).astype(np.float64)

    def loss(weights: FloatArray) -> tuple[float, FloatArray]:
        score = about @ weights
        off = 1.0 / (1.0 + np.exp(-score)) - true
        penalty = 1e-3 * weights[1:]
        gradient = about.T @ off / len(true) + np.append(0.0, 2.0 * penalty)
        return float(np.mean(np.logaddexp(0.0, score) - true * score) + penalty @ weights[1:]), gradient

    return np.asarray(minimize(loss, np.zeros(about.shape[1]), jac=True).x)


def labels(recordings: Path) -> None:
    tracks = labelled(recordings)
    learnt = [x for at, x in enumerate(tracks) if at % 5 != HELD_OUT]
    held_out = [x for at, x in enumerate(tracks) if at % 5 == HELD_OUT]
    again = refitted(learnt)
    print(f"fitted on {len(learnt)} tracks: bias {again[0]:.3f}, weights {np.round(again[1:], 3).tolist()}; "
          f"in use: {motion.BIAS}, {list(motion.WEIGHTS)}")  # fmt: skip
    for name, part in (("fitted", learnt), ("held out", held_out)):
        right, f1 = accuracy(part)
        print(f"driving or not, {name} ({len(part)} tracks): accuracy {right:.4f} (to beat 0.903), "
              f"F1 driving {f1:.4f} (to beat 0.880)")  # fmt: skip


def trucks(recordings: Path) -> None:
    recording = trucks_of(recordings)
    fixes = recording.fixes()
    known = states_of(fixes)
    again = np.sort(np.append(np.arange(len(recording.truck)), resent(recording, 50_000)))
    same = states_of(recording.fixes(again))
    stale = len(recording.truck) - len(fixes.truck)
    print(
        f"heavy trucks: {len(recording.truck)} fixes of {len(recording.names)} trucks, {stale} of them stale "
        f"repeats of a time; another {len(again) - len(recording.truck)} repeats make "
        f"{'no other state' if same == known else 'OTHER STATES'}"
    )
    plain = plain_stops(fixes)
    missed = [s for s in plain if stood_s(known[s[0]], s[1], s[2]) < 0.5 * (s[2] - s[1]) / 1000.0]
    last = {int(k): int(fixes.t_ms[fixes.truck == k].max()) for k in np.unique(fixes.truck)}
    going = [s for s in plain if s[2] == last[s[0]]]
    open_ = [s for s in going if known[s[0]][-1].motion is Motion.STOPPED]
    print(f"stops over 5 minutes by the plain definition: {len(plain)}, found {len(plain) - len(missed)}; "
          f"of these in progress {len(going)}, found so {len(open_)}")  # fmt: skip
    for who, begin, end in missed:
        said = [(r.motion.name, _shown(r.from_ms), _shown(r.to_ms)) for r in known[who]
                if r.to_ms > begin and r.from_ms < end]  # fmt: skip
        print("  missed", recording.names[who], _shown(begin), _shown(end), said)
    _, broken, fault = believed(fixes)
    old = [(recording.names[w], r) for w, mine in known.items() for r in mine
           if r.from_ms < DECEMBER_MS and r.motion is not Motion.OFFLINE]  # fmt: skip
    print(f"not believed: {int((fault != 0).sum())} of {len(fault)} fixes; {int(broken.sum())} breaks; "
          f"movements and stands that begin before November 2015: {len(old)}")  # fmt: skip


def _shown(t_ms: int) -> str:
    return str(np.datetime64(t_ms, "ms"))


def main() -> None:
    without_options("tracks", __doc__)
    print(f"machine: {machine()}")
    where = os.environ.get("HEARTHLINE_RECORDINGS")
    if where is None:
        print("HEARTHLINE_RECORDINGS is not set: none on recordings (docs/recordings.md)", file=sys.stderr)
    else:
        for part in (labels, trucks, track_trips.route):
            part(Path(where))
    track_trips.simulated()
    track_speed.speed()


if __name__ == "__main__":
    main()
