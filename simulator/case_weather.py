"""The weather of a case: made up from a seed, or measured and read from a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any, Final

from simulator.case_report import CaseError, Report
from simulator.weather import Weather

__all__ = ["LARGEST_SEED", "read_weather"]

LARGEST_SEED: Final = 2**63 - 1
_KEYS: Final = ("csv", "mean_c", "swing_k", "seed")
_COLUMNS: Final = ("t", "outdoor_c")


def read_weather(
    report: Report,
    table: Mapping[str, Any],
    seed: int,
    span_ms: tuple[int, int],
    read_text: Callable[[str], str],
) -> Weather:
    """The weather that a ``[weather]`` table asks for.

    Parameters
    ----------
    seed : int
        The case's: weather without a seed of its own has this one.
    span_ms : (int, int)
        What a file must cover, ms UTC.
    read_text : callable
        Gives a file that the case names.
    """
    report.keys(table, _KEYS, table="weather")
    if "csv" not in table:
        mean_c = report.number(table, "mean_c", -8.0, low=-40.0, high=30.0, table="weather")
        swing_k = report.number(table, "swing_k", 4.5, low=0.0, high=20.0, table="weather")
        return Weather(
            report.whole(table, "seed", seed, low=0, high=LARGEST_SEED, table="weather"), mean_c, swing_k
        )
    name = table["csv"]
    for key in table.keys() - {"csv"}:
        report.at(f"{key}: expected none beside a csv, got {table[key]!r}", key, table="weather")
    if not isinstance(name, str):
        report.at(f"csv: expected the name of a file, got {name!r}", "csv", table="weather")
        return Weather(seed)
    try:
        text = read_text(name)
    except (OSError, ValueError) as error:
        report.at(f"csv: expected a readable file of UTF-8 text, got: {error}", "csv", table="weather")
        return Weather(seed)
    return Weather.recorded(*_series(PurePath(name).name, text, span_ms))


def _series(name: str, text: str, span_ms: tuple[int, int]) -> tuple[list[int], list[float]]:
    reader = csv.DictReader(text.splitlines())
    if not set(_COLUMNS) <= set(reader.fieldnames or ()):
        got = ",".join(reader.fieldnames or ()) or "nothing"
        raise CaseError(f"{name}:1: expected the columns t and outdoor_c, got {got}")
    times, values, found = list[int](), list[float](), list[str]()
    try:
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise CaseError(f"{name}:{reader.line_num}: expected CSV, got: {error}") from error
    for line, row in rows:
        try:
            t_ms, value = _time_ms(row["t"] or ""), _celsius(row["outdoor_c"] or "")
        except ValueError as error:
            found.append(f"{name}:{line}: {error}")
            continue
        if not -60.0 <= value <= 60.0:
            found.append(f"{name}:{line}: outdoor_c: expected -60 to 60, got {value:g}")
        if times and t_ms <= times[-1]:
            found.append(f"{name}:{line}: expected times that rise, got {_iso(t_ms)} after {_iso(times[-1])}")
        times.append(t_ms)
        values.append(value)
    if not found and (not times or times[0] > span_ms[0] or times[-1] < span_ms[1]):
        got = f"{_iso(times[0])} to {_iso(times[-1])}" if times else "no row"
        found.append(f"{name}:1: expected weather from {_iso(span_ms[0])} to {_iso(span_ms[1])}, got {got}")
    if found:
        raise CaseError("\n".join(found))
    return times, values


def _celsius(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"outdoor_c: expected a number, got {text!r}") from None


def _time_ms(text: str) -> int:
    """A time as ms UTC or with its offset."""
    if text.strip().lstrip("-").isdigit():
        return int(text)
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ValueError(f"t: expected ms UTC or a time such as 2026-01-10T00:00:00Z, got {text!r}")
    return round(at.timestamp() * 1000)


def _iso(t_ms: int) -> str:
    try:
        return datetime.fromtimestamp(t_ms / 1000, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):  # no year that a calendar has
        return f"{t_ms} ms"
