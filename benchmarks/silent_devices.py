"""How well heat of consumers that say nothing is estimated: ``python -m benchmarks.silent_devices``.

Networks that were heard for three weeks; then, hour by hour of the last day, each consumer in turn says
nothing: since this hour, or since before the history began. Its estimate is compared with what its meter
would have said: by its energy signature, and by its share of the others' heat or its area, which stand until
there is a signature.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import machine
from benchmarks.network_days import Day, simulated_day, told_by
from models.accuracy import COVERAGE_FACTOR
from models.energy_signature import Signature, fit_signature, signature_power_kw
from models.missing_heat import Expected, estimated_heat
from simulator.weather import Weather
from streams.core.network_rows import STEP_MS
from streams.operators.device_heat import device_heat

FloatArray = NDArray[np.float64]

FIRST_SEED = 95_000
DAYS, HISTORY = 21, 24
_PER_DAY, _HOUR = 96, 4


def heat_of(day: Day, seed: int) -> tuple[NDArray[np.int64], FloatArray]:
    """Starts of the steps, and heat of each consumer in them, as meters tell it. [ms UTC], [GJ]"""
    told = told_by(day, seed)
    starts = np.array(sorted(told.states), dtype=np.int64)
    consumers = np.flatnonzero(day.stream.classes != "plant")
    heat = [told.states[s].values_of("heat_gj", device_heat.fields, consumers) for s in starts.tolist()]
    return starts, np.array(heat)


def signatures(starts: NDArray[np.int64], heat_gj: FloatArray, weather: Weather) -> Signature:
    """Of the days before the last."""
    days = len(starts) // _PER_DAY - 1
    power = heat_gj[: days * _PER_DAY].reshape(days, _PER_DAY, -1).mean(axis=1) / (STEP_MS * 1e-9)
    outdoor = weather.outdoor_c(starts[: days * _PER_DAY]).reshape(days, _PER_DAY).mean(axis=1)
    return fit_signature(power, outdoor)


def expected(found: Signature, outdoor_c: float) -> Expected:
    """What signatures say of a step."""
    power = signature_power_kw(found.base_kw, found.slope_kw_k, found.balance_c, outdoor_c)
    return Expected(power * STEP_MS * 1e-9, found.sigma_kw * STEP_MS * 1e-9)


def one(seed: int, substations: int) -> dict[str, list[tuple[float, float]]]:
    """Error over what was taken, and over its uncertainty (k = 2), by way of estimating."""
    weather = Weather(seed)
    day = simulated_day(seed, substations, 24.0 * DAYS, step_s=300.0, weather=weather)
    starts, heat = heat_of(day, seed + 1)
    found = signatures(starts, heat, weather)
    area = np.array([d.area_m2 or np.nan for d in day.site.devices.values() if d.device_class != "plant"])
    out = defaultdict(list)
    for first in range(len(starts) - _PER_DAY, len(starts) - _HOUR + 1, _HOUR):
        span = slice(first - HISTORY, first + _HOUR)
        said = expected(found, float(weather.outdoor_c(starts[span]).mean()))
        for device in range(heat.shape[1]):
            for since, lost in (("this hour", HISTORY), ("before", 0)):
                known = heat[span].copy()
                true = float(known[HISTORY:, device].sum())
                known[lost:, device] = np.nan
                for name, more in (("signature", said), ("share or area", None)):
                    got = estimated_heat(known, area, slice(HISTORY, HISTORY + _HOUR), more)
                    off = float(got.heat_gj[HISTORY:, device].sum()) - true
                    out[f"silent since {since}, by {name}"].append(
                        (off / true, abs(off) / (COVERAGE_FACTOR * got.u_gj[device]))
                    )
    return out


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.silent_devices", description=__doc__)
    parser.add_argument("--networks", type=int, default=2)
    parser.add_argument("--substations", type=int, default=12)
    parser.add_argument("--seed", type=int, default=FIRST_SEED)
    given = parser.parse_args()
    print(f"machine: {machine()}; seeds from {given.seed}; a sample every 300 s", flush=True)
    every: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for seed in range(given.seed, given.seed + given.networks):
        for name, values in one(seed, given.substations).items():
            every[name] += values
    for name, values in every.items():
        off, ratio = np.array(values).T
        print(
            f"{name:42s}: {np.sqrt(np.mean(off**2)):6.1%} off (rms), {np.median(np.abs(off)):6.1%} (median), "
            f"within u (k = 2) {np.mean(ratio <= 1.0):6.1%} of {len(off)} hours"
        )


if __name__ == "__main__":
    main()
