"""Heat load of each network and device 1 to 72 hours ahead, per hour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.forecast_weather import HOURS, HourlyWeather, Issue, Outlook
from models.load_forecast import AHEAD_H, PER_DEVICE, Calendar, Forecast, LoadModel
from models.results import Status
from streams.core.network_loads import HEAT, WEATHER, NetworkDevices, StepColumns, learnt_table, networks_of
from streams.core.network_rows import Settled
from streams.core.operator import learner
from streams.core.packing import packed, unpacked

__all__ = ["RECENT_MEAN", "calendar_of", "load_forecast"]

FloatArray = NDArray[np.float64]
State = dict[str, Any]

VERSION: Final = 1
RECENT_MEAN: Final = "weather_recent_mean"
"""Reason of a row that rests on the mean temperature of the last day, no weather forecast reaching so far."""
HOUR_MS: Final = 3_600_000
_STEP_S: Final = 900.0
_LEAST_S: Final = 2700.0
"""Of an hour, how much of the heat has to be known. [s]"""
_AHEAD_FIELDS: Final = tuple(f"outdoor_{h}h_c" for h in range(1, HOURS + 1))


@learner(reads=(HEAT, WEATHER), version=VERSION)
def load_forecast(state: State | None, settled: Settled) -> tuple[State, pa.Table | None]:
    """Add up the hour, and at its end learn it and foretell the next 72.

    A row is about the hour that it begins with, `key` is the subject and how many hours ahead it was said.
    Networks have each hour ahead, devices those of `AHEAD_H`.
    """
    networks = networks_of(settled.site.site, settled.stream)
    before = {} if state is None else state["networks"]
    kept = {n.network.id: _add(n, before.get(n.network.id), settled) for n in networks}
    if settled.end_ms % HOUR_MS:
        return {"networks": kept}, None
    calendar = calendar_of(settled.end_ms, settled.site.site.timezone)
    tables = []
    for each in networks:
        kept[each.network.id], table = _hour(each, kept[each.network.id], calendar, settled)
        tables.append(table)
    return {"networks": kept}, pa.concat_tables(tables) if tables else None


def calendar_of(end_ms: int, timezone: str) -> Calendar:
    """Local time of the hour that ended and of the 72 after it."""
    zone = ZoneInfo(timezone)
    local = [datetime.fromtimestamp((end_ms + h * HOUR_MS) / 1000, zone) for h in range(-1, HOURS)]
    return Calendar(np.array([t.hour for t in local]), np.array([int(t.weekday() >= 5) for t in local]))


def _add(each: NetworkDevices, kept: Mapping[str, Any] | None, settled: Settled) -> State:
    """Add a step to a network's hour: heat [GJ] and its seconds by subject, temperatures, forecasts."""
    subjects = each.subjects
    if kept is None:
        weather, model = _weather_state(HourlyWeather()), _model_state(LoadModel.new(len(subjects)))
        kept = {"subjects": subjects, "hour": None, "outdoor": [], "issue": None, "weather": weather,
                "model": model}  # fmt: skip
    elif kept["subjects"] != subjects:
        at = {name: n for n, name in enumerate(kept["subjects"])}
        places = np.array([at.get(name, -1) for name in subjects], dtype=np.int64)
        hour = None
        if kept["hour"] is not None:
            hour = packed(np.where(places >= 0, unpacked(kept["hour"])[:, places], 0.0))
        model = _model_state(_model(kept["model"]).of(places))
        kept = {**kept, "subjects": subjects, "model": model, "hour": hour}
    heat, outdoor = each.heat_gj(settled), each.outdoor_c(settled)
    sums = np.zeros((2, len(subjects))) if kept["hour"] is None else unpacked(kept["hour"])
    sums += np.where(np.isnan(heat), 0.0, np.array([np.nan_to_num(heat), np.full(len(heat), _STEP_S)]))
    outdoors = kept["outdoor"] if np.isnan(outdoor) else [*kept["outdoor"], outdoor]
    issue = _issue(each, settled) or kept["issue"]
    return {**kept, "hour": packed(sums), "outdoor": outdoors, "issue": issue}


def _issue(each: NetworkDevices, settled: Settled) -> list[Any] | None:
    """Time [ms UTC] and temperatures of the newest forecast that a station gave in the step."""
    if not each.stations:
        return None
    said = StepColumns(settled, WEATHER, each.stations)
    age_s = said("forecast_age_s")
    if np.isnan(age_s).all():
        return None
    station = int(np.nanargmin(age_s))
    ahead = np.array([said(f)[station] for f in _AHEAD_FIELDS])
    return [settled.end_ms - round(1000.0 * float(age_s[station])), packed(ahead)]


def _hour(each: NetworkDevices, kept: State, calendar: Calendar, settled: Settled) -> tuple[State, pa.Table]:
    """Close a network's hour."""
    heat, seconds = unpacked(kept["hour"])
    with np.errstate(invalid="ignore", divide="ignore"):
        load_kw = np.where(seconds >= _LEAST_S, heat / seconds * 1e6, np.nan)
    measured = float(np.mean(kept["outdoor"])) if kept["outdoor"] else float("nan")
    weather, model = _weather(kept["weather"]), _model(kept["model"])
    issue = None if kept["issue"] is None else Issue(kept["issue"][0], unpacked(kept["issue"][1]))
    outlook = weather.after(settled.end_ms, measured, issue)
    forecast = model.after(settled.end_ms // HOUR_MS, load_kw, outlook, calendar)
    table = _table(each, kept["subjects"], model, outlook, forecast, settled)
    begun: State = {"hour": None, "outdoor": [], "issue": None}
    return {**kept, **begun, "weather": _weather_state(weather), "model": _model_state(model)}, table


def _table(
    each: NetworkDevices,
    subjects: list[str],
    model: LoadModel,
    outlook: Outlook,
    forecast: Forecast,
    settled: Settled,
) -> pa.Table:
    """Rows by hours ahead and, within, by subject."""
    own = len(subjects) - 1
    # Places in the arrays of a forecast: (hours ahead - 1, subject).
    rows = [(h - 1, s) for h in AHEAD_H for s in range(own)] + [(h, own) for h in range(HOURS)]
    ahead, subject = np.array(rows, dtype=np.int64).T
    values = {
        f: getattr(forecast, f)[ahead, subject] for f in ("p10_kw", "p50_kw", "p90_kw", "persistence_kw")
    }
    reason = forecast.reason[subject]
    known = ~np.isnan(values["p50_kw"])
    reason[known & ~outlook.forecast.cumprod().astype(bool)[ahead]] = RECENT_MEAN
    reason[known & np.isnan(values["p10_kw"])] = "few_errors"
    if not each.is_plant.any():
        reason[subject == own] = "no_plant"
    final = known & ((reason == "") | (reason == RECENT_MEAN))
    coverage = np.mean(~np.isnan(model.last_kw), axis=1)[subject]
    begin = settled.end_ms + ahead * HOUR_MS
    rest = {
        "key": [f"{subjects[s]}:{h + 1}" for h, s in rows],
        "window_start": begin,
        "window_ms": np.full(len(rows), HOUR_MS),
        "status": np.where(final, Status.FINAL, Status.UNKNOWN),
        "reason": reason,
    }
    columns = {**values, "coverage": coverage}
    return learnt_table(settled, each.network, columns, rest, f"load_forecast/{VERSION}")


def _weather_state(weather: HourlyWeather) -> State:
    return {
        "recent_c": packed(weather.recent_c), "bias_k": weather.bias_k, "issued_ms": weather.issued_ms,
        "issued_c": packed(weather.issued_c),
    }  # fmt: skip


def _weather(kept: State) -> HourlyWeather:
    return HourlyWeather(
        unpacked(kept["recent_c"]), kept["bias_k"], kept["issued_ms"], unpacked(kept["issued_c"])
    )


def _model_state(model: LoadModel) -> State:
    arrays = {f: packed(getattr(model, f)) for f in ("low_pass_c", *PER_DEVICE)}
    return {**arrays, "held_h": model.held_h}


def _model(kept: State) -> LoadModel:
    arrays: State = {f.name: unpacked(kept[f.name]) for f in fields(LoadModel) if f.name != "held_h"}
    return LoadModel(held_h=kept["held_h"], **arrays)
