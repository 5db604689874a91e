r"""Heat load of the hours to come, for many devices at a time, learnt hour by hour.

Two linear models, each with its own low-pass of the outdoor temperature, by recursive least squares with
forgetting; a daily profile of what they leave; the last error, fading; and the spread of earlier errors.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.forecast_weather import HOURS, Outlook

__all__ = ["AHEAD_H", "Calendar", "Forecast", "LoadModel"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

AHEAD_H: Final = (1, 2, 3, 6, 12, 24, 36, 48, 72)
"""Hours ahead whose errors are followed; the spread of those between lies between."""

_MEMORY: Final = (0.87, 0.95)
"""Of a low-pass from hour to hour: what walls and rooms remember, time constants of 7 and 20 hours."""
_FORGET: Final = 0.998  # an hour: 500 hours
_HARMONICS: Final = 3
_TERMS: Final = 2 + 2 * _HARMONICS
_PRIOR: Final = 100.0  # variance of a parameter before anything was seen, over that of an hour
_PROFILE_GAIN: Final = 0.05
_LEVEL_GAIN: Final = 0.01
_ERROR_MEMORY: Final = 0.99
_LEAST_SHARE: Final = 0.3  # of the usual load: an hour below it weighs no more for being small
_LEARN_H: Final = 72
_SILENT_H: Final = 24
_HELD_H: Final = 6
_SPREAD_AFTER: Final = 24  # errors at a distance before their spread is told
_SPREAD_GAIN: Final = 0.03
_REACH_GAIN: Final = 0.05
_START: Final = 1.6  # of the mean deviation: a fifth of normal errors lies beyond it
_OUTSIDE: Final = 0.2
_PENDING: Final = sum(AHEAD_H)


@dataclass(frozen=True, slots=True)
class Calendar:
    """Local time of an hour and of the 72 after it, shape (73,).

    Attributes
    ----------
    hour : ndarray of int64
        Hour of the day, 0 to 23.
    weekend : ndarray of int64
        1 on Saturday and Sunday, else 0.
    """

    hour: NDArray[np.int64]
    weekend: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What an hour's end foretells; rows are 1 to 72 hours ahead, arrays of shape (72, devices) [kW].

    Attributes
    ----------
    p10_kw, p50_kw, p90_kw : ndarray
        Each with its share of loads below it; NaN where unknown, p10 and p90 also until errors were seen.
    persistence_kw : ndarray
        The load of the same hour of the last day; NaN where unknown.
    reason : ndarray of object (str), shape (devices,)
        Why p50 is unknown: `warming_up` (under 72 hours were learnt), `gap` (no load known for a day),
        `no_outdoor`; else empty.
    """

    p10_kw: FloatArray
    p50_kw: FloatArray
    p90_kw: FloatArray
    persistence_kw: FloatArray
    reason: NDArray[np.object_]


@dataclass(slots=True)
class LoadModel:
    """What was learnt of devices in one weather; the first axis of each array is the device.

    Attributes
    ----------
    low_pass_c : ndarray, shape (2,)
        Outdoor temperature behind each low-pass, shared by all. [°C]
    held_h : int
        Hours since an outdoor temperature was known.
    coefficient : ndarray, shape (devices, 2, terms)
    covariance : ndarray, shape (devices, 2, terms (terms + 1) / 2)
        Upper triangles.
    profile_kw : ndarray, shape (devices, 2, 24)
        What the models leave, by weekday or weekend and hour of the day. [kW]
    error_kw, persists, varies : ndarray, shape (devices,)
        The last error; discounted sums of its product with the one before it, and with itself.
    level_kw : ndarray, shape (devices,)
        Usual load. [kW]
    last_kw : ndarray, shape (devices, 24)
        Load of the last day by hour of the day (UTC); NaN where unknown. [kW]
    learnt_h, silent_h : ndarray, shape (devices,)
        Hours that were learnt, and that passed since a load was known.
    pending_kw : ndarray of float32, shape (devices, 204)
        What was foretold at each of `AHEAD_H` and has still to come. [kW]
    spread, reach, scored : ndarray, shape (devices, 9)
        At each of `AHEAD_H`: mean deviation, and how far four errors of five reach, over the load foretold;
        and how many there were.
    """

    low_pass_c: FloatArray
    held_h: int
    coefficient: FloatArray
    covariance: FloatArray
    profile_kw: FloatArray
    error_kw: FloatArray
    persists: FloatArray
    varies: FloatArray
    level_kw: FloatArray
    last_kw: FloatArray
    learnt_h: FloatArray
    silent_h: FloatArray
    pending_kw: NDArray[np.float32]
    spread: FloatArray
    reach: FloatArray
    scored: FloatArray

    @classmethod
    def new(cls, devices: int) -> LoadModel:
        """Nothing learnt of so many devices."""
        upper = _TERMS * (_TERMS + 1) // 2
        models, distances = len(_MEMORY), len(AHEAD_H)
        covariance = np.zeros((devices, models, upper))
        covariance[:, :, _diagonal()] = _PRIOR
        return cls(
            np.full(models, np.nan), 0, np.zeros((devices, models, _TERMS)), covariance,
            np.zeros((devices, 2, 24)), np.zeros(devices), np.zeros(devices), np.zeros(devices),
            np.full(devices, np.nan), np.full((devices, 24), np.nan), np.zeros(devices), np.zeros(devices),
            np.full((devices, _PENDING), np.nan, dtype=np.float32),
            *(np.zeros((devices, distances)) for _ in range(3)),
        )  # fmt: skip

    def of(self, places: NDArray[np.int64]) -> LoadModel:
        """What was learnt of the devices at `places`; nothing of those at -1."""
        fresh = LoadModel.new(len(places))
        fresh.low_pass_c, fresh.held_h = self.low_pass_c, self.held_h
        there = places >= 0
        for name in PER_DEVICE:
            getattr(fresh, name)[there] = getattr(self, name)[places[there]]
        return fresh

    def after(self, at_h: int, load_kw: FloatArray, outlook: Outlook, calendar: Calendar) -> Forecast:
        """Take in the loads of the hour that ended, and foretell those to come.

        Parameters
        ----------
        at_h : int
            The hour that ended, counted from the epoch.
        load_kw : ndarray, shape (devices,)
            Mean load in it; NaN where unknown. [kW]
        outlook : Outlook
        calendar : Calendar
            Of that hour and the ones after it.

        References
        ----------
        .. [1] P. Bacher, H. Madsen, H. A. Nielsen, B. Perers, Short-term heat load forecasting for single
           family houses, Energy and Buildings 65 (2013) 101: recursive least squares on low-passed weather.
        .. [2] I. Gibbs, E. Candès, Adaptive conformal inference under distribution shift, NeurIPS 2021: the
           spread follows how often loads fell outside.
        """
        known = np.isfinite(load_kw)
        load = np.where(known, load_kw, 0.0)
        self.silent_h = np.where(known, 0.0, self.silent_h + 1.0)
        self.last_kw[:, at_h % 24] = np.where(known, load, np.nan)
        level = np.where(np.isnan(self.level_kw), load, self.level_kw + _LEVEL_GAIN * (load - self.level_kw))
        self.level_kw = np.where(known, level, self.level_kw)
        self._score(load, known)
        self._hold(outlook.now_c)
        if np.isnan(outlook.now_c) or np.isnan(self.low_pass_c).any():
            self._fade(np.ones(len(known), dtype=bool))
        else:
            self._learn(load, known, calendar)
        return self._foretell(at_h, outlook, calendar)

    def _hold(self, now_c: float) -> None:
        """Move the low-passes on by an hour; after a long gap they begin anew."""
        if np.isnan(now_c):
            self.held_h += 1
            return
        begins = np.isnan(self.low_pass_c) | (self.held_h > _HELD_H)
        memory = np.where(begins, 0.0, np.array(_MEMORY))
        self.low_pass_c = memory * np.where(begins, 0.0, self.low_pass_c) + (1.0 - memory) * now_c
        self.held_h = 0

    def _fade(self, which: BoolArray) -> None:
        """Let the last error fade where no new one is known."""
        self.error_kw = np.where(which, self.error_kw * self._persistence(), self.error_kw)

    def _persistence(self) -> FloatArray:
        """Of an error, how much is left an hour later."""
        return np.clip(self.persists / np.maximum(self.varies, 1e-300), 0.0, 0.98)

    def _learn(self, load: FloatArray, known: BoolArray, calendar: Calendar) -> None:
        terms = _terms(self.low_pass_c[:, None], calendar.hour[:1])[:, 0]  # (models, terms)
        left = load[:, None] - np.einsum("dmt,mt->dm", self.coefficient, terms)
        kind, hour = int(calendar.weekend[0]), int(calendar.hour[0])
        error = left.mean(axis=1) - self.profile_kw[:, kind, hour]
        seen = known & (self.learnt_h > 0)
        self.varies = np.where(seen, _ERROR_MEMORY * self.varies + self.error_kw**2, self.varies)
        self.persists = np.where(seen, _ERROR_MEMORY * self.persists + self.error_kw * error, self.persists)
        self._fade(~known)
        self.error_kw = np.where(known, error, self.error_kw)
        self.profile_kw[:, kind, hour] += np.where(known, _PROFILE_GAIN * error, 0.0)
        self._update(terms, left, load, known)
        self.learnt_h = self.learnt_h + known

    def _update(self, terms: FloatArray, left: FloatArray, load: FloatArray, known: BoolArray) -> None:
        """One step of recursive least squares; an hour weighs by the inverse square of its load."""
        usual = np.maximum(np.abs(self.level_kw), 1e-12)
        weight = np.where(known, (usual / np.maximum(np.abs(load), _LEAST_SHARE * usual)) ** 2, 1.0)
        rows, columns = np.triu_indices(_TERMS)
        whole = np.empty((*self.covariance.shape[:2], _TERMS, _TERMS))
        whole[:, :, rows, columns] = self.covariance
        whole[:, :, columns, rows] = self.covariance
        along = np.einsum("dmij,mj->dmi", whole, terms)
        gain = along / (_FORGET / weight[:, None] + np.einsum("dmi,mi->dm", along, terms))[:, :, None]
        whole = whole - gain[:, :, :, None] * along[:, :, None, :]
        # What is never stirred (weather that stands still) would be forgotten without end.
        grown = np.trace(whole, axis1=2, axis2=3) / _FORGET <= _PRIOR * _TERMS
        whole = np.where(grown[:, :, None, None], whole / _FORGET, whole)
        self.coefficient = np.where(
            known[:, None, None], self.coefficient + gain * left[:, :, None], self.coefficient
        )
        self.covariance = np.where(known[:, None, None], whole[:, :, rows, columns], self.covariance)

    def _score(self, load: FloatArray, known: BoolArray) -> None:
        """Compare the load with what was foretold of it, and let the reach of errors follow."""
        begin = 0
        for at, ahead in enumerate(AHEAD_H):
            mine = self.pending_kw[:, begin : begin + ahead]
            begin += ahead
            foretold = mine[:, 0].astype(np.float64)
            mine[:, :-1] = mine[:, 1:].copy()
            mine[:, -1] = np.nan
            # Where heating begins nothing was foretold: over that any error would be without bound.
            unit = np.maximum(self._unit(foretold), _LEAST_SHARE * np.abs(load))
            usable = known & (unit > 0.0)  # NaN is not
            off = np.abs(load - foretold)[usable] / unit[usable]
            count = self.scored[usable, at] + 1.0
            spread = self.spread[usable, at]
            spread += np.maximum(_SPREAD_GAIN, 1.0 / count) * (off - spread)
            reach = self.reach[usable, at]
            reach += _REACH_GAIN * spread * ((off > reach) - _OUTSIDE)
            # By Markov's inequality no more than a fifth of errors is beyond five times their mean.
            reach = np.clip(reach, 0.0, spread / _OUTSIDE)
            self.scored[usable, at], self.spread[usable, at] = count, spread
            self.reach[usable, at] = np.where(count <= _SPREAD_AFTER, _START * spread, reach)

    def _unit(self, foretold: FloatArray) -> FloatArray:
        """What errors are measured by: the load foretold, but no less than a part of the usual one. [kW]"""
        return np.maximum(np.abs(foretold), _LEAST_SHARE * np.abs(np.nan_to_num(self.level_kw)))

    def _foretell(self, at_h: int, outlook: Outlook, calendar: Calendar) -> Forecast:
        hours = np.arange(1, HOURS + 1)
        low_pass = np.empty((len(_MEMORY), HOURS))
        current = self.low_pass_c
        for nth in range(HOURS):
            current = np.array(_MEMORY) * current + (1.0 - np.array(_MEMORY)) * outlook.ahead_c[nth]
            low_pass[:, nth] = current
        terms = _terms(low_pass, calendar.hour[1:])
        p50 = np.einsum("dmt,mht->hd", self.coefficient, terms) / len(_MEMORY)
        p50 += self.profile_kw[:, calendar.weekend[1:], calendar.hour[1:]].T
        p50 += self.error_kw * self._persistence() ** hours[:, None]
        p50 = np.maximum(p50, 0.0)
        reason = np.full(len(self.learnt_h), "", dtype=object)
        reason[self.learnt_h < _LEARN_H] = "warming_up"
        reason[self.silent_h >= _SILENT_H] = "gap"
        if self.held_h > _HELD_H or np.isnan(low_pass).any():
            reason[:] = "no_outdoor"
        p50[:, reason != ""] = np.nan
        begin = 0
        for ahead in AHEAD_H:
            self.pending_kw[:, begin + ahead - 1] = p50[ahead - 1]
            begin += ahead
        unit = self._unit(p50)
        reach = self._between(self.reach) * unit
        persistence = self.last_kw[:, (at_h + hours) % 24].T
        return Forecast(np.maximum(p50 - reach, 0.0), p50, p50 + reach, persistence, reason)

    def _between(self, at_distances: FloatArray) -> FloatArray:
        """Values at 1 to 72 hours ahead from those at `AHEAD_H`; NaN next to one that was hardly scored."""
        told = np.where(self.scored >= _SPREAD_AFTER, at_distances, np.nan)
        hours = np.arange(1, HOURS + 1, dtype=np.float64)
        distances = np.array(AHEAD_H, dtype=np.float64)
        left = np.clip(np.searchsorted(distances, hours, side="right") - 1, 0, len(distances) - 2)
        part = ((hours - distances[left]) / (distances[left + 1] - distances[left]))[:, None]
        a, b = told[:, left].T, told[:, left + 1].T
        return np.where(part == 0.0, a, np.where(part == 1.0, b, a * (1.0 - part) + b * part))


PER_DEVICE: Final = tuple(f.name for f in fields(LoadModel) if f.name not in {"low_pass_c", "held_h"})
"""Names of the arrays of a `LoadModel` whose first axis is the device."""


def _diagonal() -> NDArray[np.int64]:
    rows, columns = np.triu_indices(_TERMS)
    return np.flatnonzero(rows == columns)


def _terms(low_pass_c: FloatArray, hour: NDArray[np.int64]) -> FloatArray:
    """Regressors, shape (models, hours, terms), for low-passes (models, hours) and hours of the day."""
    models = low_pass_c.shape[0]
    turns = 2.0 * np.pi * hour[:, None] * np.arange(1, _HARMONICS + 1) / 24.0
    waves = np.concatenate([np.sin(turns), np.cos(turns)], axis=1)
    return np.concatenate([
        np.ones((*low_pass_c.shape, 1)),
        low_pass_c[:, :, None] / 10.0,
        np.broadcast_to(waves, (models, *waves.shape)),
    ], axis=2)  # fmt: skip
