"""What the board must show by the command `hearthline query`: its rows, put together here once more."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from statistics import fmean
from typing import Any

from typer.testing import CliRunner

from dashboards.history import step_ms
from dashboards.panels import NETWORK_WINDOW, Page, Panel, Series
from dashboards.scope import NETWORK_KEY, SCOPE_KEY
from hearthline.cli import build
from models.site import Site
from store.params import time_text
from store.protocol import Select

CHARTS = frozenset({"tile", "line", "scatter", "bands", "heatmap"})
TABLES = frozenset({"table", "trips"})
DERIVED = frozenset({"age", "change"})
"""Columns that the page works out from the row and the time."""
_TOGETHER = {"sum": math.fsum, "mean": fmean, "min": min, "max": max, "last": lambda values: values[-1]}
_HOUR_MS = 3_600_000
Row = dict[str, Any]
Point = tuple[int, float | None]
"""When a step is shown, and what."""
Spell = tuple[int, float | None, int]
"""From when a row is, what it has and until when it is."""


@cache
def _said(arguments: tuple[str, ...]) -> list[Row]:
    done = CliRunner().invoke(build(), ["query", *arguments, "--format", "jsonl"])
    assert done.exit_code == 0, (done.output, done.exception)
    return [json.loads(line) for line in done.stdout.splitlines()]


def rows(url: str, select: Select) -> list[Row]:
    """What `hearthline query` prints for `select`, in its order."""
    arguments = [select.measurement, "--url", url]
    for option, values in (("--field", select.fields), ("--key", select.keys)):
        arguments += [x for v in values for x in (option, v.replace(SCOPE_KEY, "desk"))]
    for option, value in (("--from", select.from_ms), ("--to", select.to_ms), ("--limit", select.limit)):
        arguments += [] if value is None else [option, str(value)]
    arguments += ["--key-prefix", select.key_prefix.replace(SCOPE_KEY, "desk")] if select.key_prefix else []
    arguments += ["--latest"] if select.latest else []
    arguments += ["--newest-first"] if select.newest_first else []
    return _said(tuple(arguments))


class Asked:
    """A page of one board, in one range, as the command tells of it.

    Parameters
    ----------
    url : str
    site : Site
    now_ms, from_ms : int
        The range ends now. [ms UTC]
    device : str
        Of a page about one.
    """

    def __init__(self, url: str, site: Site, now_ms: int, from_ms: int, device: str) -> None:
        self.url, self.site, self.now_ms, self.from_ms, self.device = url, site, now_ms, from_ms, device

    def history(self, panel: Panel) -> dict[tuple[str, str, str], float | None]:
        """Value by label (in English), key and time (UTC) of every point of a panel's chart."""
        found = {}
        for series in panel.series:
            by_key = self._by_key(panel, series)
            lines = _across(by_key, series) if series.across else by_key
            for key, points in lines.items():
                for at, value in points.values():
                    shown = None if value is None else round(value * series.scale, 6)
                    found[series.label.en, key, time_text(at).replace("Z", ".000Z")] = shown
        return found

    def _by_key(self, panel: Panel, series: Series) -> dict[str, dict[int, Point]]:
        fills_ms = series.window_ms
        if fills_ms == NETWORK_WINDOW:
            fills_ms = 1000 * max(n.window_s for n in self.site.networks.values())
        until = self.now_ms - fills_ms + 1
        classes = {*series.classes, series.select.device_class} - {""}
        select = Select(
            series.select.measurement, fields=(series.field,), keys=self._keys(panel, series.select.keys, classes),
            from_ms=self.from_ms, to_ms=until, key_prefix=series.select.key_prefix,
        )  # fmt: skip
        step = self._step(panel, series, until)
        bins: dict[str, dict[int, list[Spell]]] = defaultdict(lambda: defaultdict(list))
        for row in sorted(rows(self.url, select), key=lambda r: r["window_start"]):
            device = self.site.devices.get(row["key"])
            if classes and (device is None or device.device_class not in classes):
                continue
            begin = row["window_start"] // step * step
            end = row["window_start"] + (row.get("window_ms") or 1)
            bins[row["key"]][begin].append((row["window_start"], row.get(series.field), end))
        if series.across and series.aggregate == "last":
            return _at_newest(bins)
        return {
            key: {begin: _thinned(series, begin, points) for begin, points in of.items()}
            for key, of in bins.items()
        }

    def _step(self, panel: Panel, series: Series, until: int) -> int:
        if panel.kind == "heatmap":
            return 3_600_000
        points = 100 if panel.kind == "tile" else 360
        if series.select.measurement == "reading":
            return step_ms(self.from_ms, until, points)
        step = step_ms(self.from_ms, until, points, at_least_ms=900_000)
        return 1 if step == 900_000 else step

    def _keys(self, panel: Panel, keys: Sequence[str], classes: set[str | None]) -> tuple[str, ...]:
        if panel.scope == "device":
            return (self.device,)
        if classes and not keys:
            return tuple(d.device for d in self.site.devices.values() if d.device_class in classes)
        return self._of_networks(keys)

    def _of_networks(self, keys: Sequence[str]) -> tuple[str, ...]:
        names = {key: [*self.site.networks] if NETWORK_KEY in key else [""] for key in keys}
        return tuple(k.replace(NETWORK_KEY, n) for k in keys for n in names[k])

    def table(self, page: Page, panel: Panel) -> list[tuple[str, ...]]:
        """Cells of a panel's table, sorted, without columns that the page works out."""
        feeds = {f.name: f for f in page.feeds}
        feed = feeds[panel.feeds[0]]
        keys = self._of_networks(feed.select.keys) if feed.scope == "scope" else (self.device,)
        found = rows(self.url, Select(
            feed.select.measurement, fields=feed.select.fields, keys=keys, latest=feed.select.latest,
            newest_first=feed.select.newest_first, limit=feed.select.limit,
            key_prefix=feed.select.key_prefix,
        ))  # fmt: skip
        late = {}
        if panel.kind == "trips":
            arrivals = rows(self.url, Select(feeds["arrivals"].select.measurement, latest=True))
            late = {r["key"]: {"late_p": r.get("late_p")} for r in arrivals}
        return sorted(
            cells(panel, ({**row, **late.get(row["key"], {})} for row in found if self._listed(panel, row)))
        )

    def _listed(self, panel: Panel, row: Row) -> bool:
        if (
            any(unit == "ahead" for _, _, unit in panel.columns)
            and row["window_start"] + _HOUR_MS <= self.now_ms
        ):
            return False  # of an hour that is over
        return (not panel.codes or row.get("code") in panel.codes) and (
            not panel.states or row.get("state") in panel.states
        )

    def newest(self, device: str) -> Row:
        """The newest reading of a device."""
        (row,) = rows(self.url, Select("reading", keys=(device,), latest=True))
        return row

    def balance(self, page: Page, panel: Panel, key: str, start: str) -> list[str]:
        """Terms of a network's balance of the window that began at `start`, as a drawing of them lists them."""
        select = next(f for f in page.feeds if f.name in panel.feeds).select
        found = rows(self.url, Select(select.measurement, newest_first=True, limit=select.limit))
        (row,) = [r for r in found if r["key"] == key and time_text(r["window_start"]) == start]
        return [_cell(row.get(s.field)) for s in panel.series]


def _thinned(series: Series, begin: int, points: Sequence[Spell]) -> Point:
    """A step of one key: what is shown of it as it was last stands where that stands."""
    told = [(t, v) for t, v, _ in points if v is not None]
    at = (told or points)[-1][0] if series.aggregate == "last" else begin
    thin = _TOGETHER["mean" if series.aggregate == "sum" else series.aggregate]
    return at, thin([v for _, v in told]) if told else None


def _at_newest(bins: dict[str, dict[int, list[Spell]]]) -> dict[str, dict[int, Point]]:
    """Of each step what every key has at the newest time at which one has a number."""
    found: dict[str, dict[int, Point]] = defaultdict(dict)
    for begin in {b for of in bins.values() for b in of}:
        spells = [s for of in bins.values() for s in of.get(begin, [])]
        at = max([t for t, v, _ in spells if v is not None] or [t for t, _, _ in spells])
        for key, of in bins.items():
            for start, value, end in of.get(begin, []):
                if start <= at < end:
                    found[key][begin] = at, value
    return found


def _across(by_key: dict[str, dict[int, Point]], series: Series) -> dict[str, dict[int, Point]]:
    at: dict[int, list[Point]] = defaultdict(list)
    for points in by_key.values():
        for begin, point in points.items():
            at[begin].append(point)
    together = {}
    for begin, points in at.items():
        values = [v for _, v in points if v is not None]
        together[begin] = max(t for t, _ in points), _TOGETHER[series.across](values) if values else None
    return {"": together}


def cells(panel: Panel, told: Iterable[Row]) -> list[tuple[str, ...]]:
    """Rows as text, numbers in Python's own shortest form."""
    return [
        tuple(
            _cell(_value(row, field), unit, 100 if field == "coverage" and "%" in unit else 1)
            for field, _, unit in panel.columns
            if unit not in DERIVED
        )
        for row in told
    ]


def _value(row: Row, field: str) -> Any:
    inner = field.removeprefix("evidence.")
    value = row.get(field) if inner == field else json.loads(row.get("evidence") or "{}").get(inner)
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def _cell(value: Any, unit: str = "", times: int = 1) -> str:
    if value is None:
        return ""
    if isinstance(value, (int, float)):
        return iso(int(value)) if unit in {"time", "arrival"} else repr(float(times * value))
    return number(str(value))  # the name of a year reads as a number


def iso(at_ms: int) -> str:
    """A time as a browser writes it, with its milliseconds."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_cells(panel: Panel, written: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Rows of a page's CSV in the form of `cells`, sorted."""
    kept = [i for i, (_, _, unit) in enumerate(panel.columns) if unit not in DERIVED]
    return sorted(tuple(number(row[i]) for i in kept) for row in written)


def number(text: str) -> str:
    try:
        return repr(float(text))
    except ValueError:
        return text
