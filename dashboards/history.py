"""History of a panel for its charts: what the store answers, as plain columns for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dashboards.filling import first_until_ms, window_ms
from dashboards.marks import alarm_marks
from dashboards.panels import Panel, Series, judged_by
from dashboards.scope import Scope, devices_in, narrowed
from dashboards.shared import Answers
from dashboards.steps import at_newest
from models.measurements import known
from models.quality import outside
from models.results import READING, Status
from models.site import Site
from store.protocol import Select, extremes_of

__all__ = ["FINAL", "OUTSIDE", "PARTIAL", "PROVISIONAL", "panel_history", "step_ms"]

FINAL: Final = 0
PROVISIONAL: Final = 1
PARTIAL: Final = 2
"""Flags of a point: not every device that should be in a sum had a value."""
OUTSIDE: Final = 3
"""Of a reading, or of a step that holds one: it cannot be so, and no result is made of it."""

_STEPS_S: Final = (10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400, 604_800)
_WINDOW_MS: Final = 900_000
_HEAT_ROWS: Final = 40
_EXTREMES: Final[tuple[tuple[str, Literal["min", "max"]], ...]] = (("low", "min"), ("high", "max"))


def step_ms(from_ms: int, to_ms: int, points: int, *, at_least_ms: int = 10_000) -> int:
    """A round step that divides [from_ms, to_ms) into at most about `points`. [ms]"""
    wanted = max((to_ms - from_ms) / max(points, 1), at_least_ms)
    return next((1000 * s for s in _STEPS_S if 1000 * s >= wanted), 1000 * _STEPS_S[-1])


def panel_history(
    store: Answers,
    site: Site,
    panel: Panel,
    scope: Scope,
    from_ms: int,
    to_ms: int,
    points: int,
    now_ms: int,
) -> dict[str, Any]:
    """Points of every series of `panel` in [from_ms, to_ms).

    Returns
    -------
    dict
        ``series``: a list in the panel's order (several for a series with a line
        a key), each with ``key``, ``index`` (of the panel's series), ``t`` [ms
        UTC], ``v`` (None where unknown) and ``f``, the points' flags; a point of a
        line that was thinned is of the ``bin`` [ms] that begins then, unless it shows
        one row of it, and stands where that does. ``exists``
        is false when the store holds no row at all for the range; ``fills`` is then
        when the first window of one that is not drawn yet is over. A line of readings
        that were thinned has ``low`` and ``high`` as well, the least and the greatest
        of each step, unless it is a sum of several devices, and ``step`` [ms] where
        every step should hold a reading: one that is missing is a gap. A device's lines
        come with its ``alarms`` of the range (`alarm_marks`). A step of a line that is no
        sum, with a reading beyond its physical range, is flagged `OUTSIDE`; a line of
        several devices is of those that have none in the step.
    """
    answers: dict[Select, pa.Table] = {}

    def ask(question: Select, classes: tuple[str, ...]) -> list[pa.Table]:
        tables = []
        for part in _by_class(question, classes):
            if part not in answers:
                answers[part] = _with_extremes(store, part)
            tables.append(_of_classes(answers[part], site, scope, classes))
        return tables

    lines: list[dict[str, Any]] = []
    exists = False
    for index, series in enumerate(panel.series):
        question = _question(site, series, panel, scope, from_ms, to_ms, points, now_ms)
        table = _plausible(_together(ask(question, series.classes)), series)
        if series.across and question.aggregate == "last" and question.every_ms is not None:
            every = replace(question, fields=("window_ms",))
            newest = partial(lambda q, classes: _together(ask(q, classes)), every, series.classes)
            table = at_newest(table, newest, series.field, question.every_ms)
        exists = exists or table.num_rows > 0
        found = _lines(table, series, index, question)
        if question.extremes and question.every_ms is not None:
            _judge(found, table, question, panel, series, site)
        lines.extend(found)
    if panel.kind == "heatmap":
        lines = sorted(lines, key=_badness)[:_HEAT_ROWS]
    answer = {"panel": panel.id, "from": from_ms, "to": to_ms, "exists": exists, "series": lines}
    if not exists:
        answer["fills"] = first_until_ms(store, site, panel, scope, (from_ms, to_ms), now_ms)
    if panel.kind == "line" and panel.scope == "device":
        answer["alarms"] = alarm_marks(store, site, scope.device, from_ms, to_ms)
    return answer


def _question(
    site: Site,
    series: Series,
    panel: Panel,
    scope: Scope,
    from_ms: int,
    to_ms: int,
    points: int,
    now_ms: int,
) -> Select:
    judged = series.select.measurement == READING and (panel.scope == "device" or bool(series.across))
    named = [s.field for s in panel.series if s.select == series.select]
    fields = tuple(dict.fromkeys(f for name in named for f in (judged_by(name) if judged else (name,))))
    fills_ms = window_ms(series, site, scope)
    until = min(to_ms, now_ms - fills_ms + 1) if fills_ms else to_ms
    select = narrowed(series.select, scope, to_device=panel.scope == "device", site=site)
    reading = select.measurement == READING
    if panel.kind == "heatmap":
        every: int | None = 3_600_000
    elif reading:
        every = step_ms(from_ms, to_ms, points)
    else:
        every = step_ms(from_ms, to_ms, points, at_least_ms=_WINDOW_MS)
        every = None if every == _WINDOW_MS else every
    # A sum per window stays a sum per window when thinned: the mean of the windows of a step.
    aggregate = "mean" if series.aggregate == "sum" else series.aggregate
    if aggregate == "last" and every is not None:
        # Each at the newest time of its own, whatever another field's is.
        fields = (series.field, *(["window_ms"] if series.across else []))
    return replace(
        select, fields=fields, from_ms=from_ms, to_ms=until, every_ms=every, aggregate=aggregate,
        latest=False, narrow=True, extremes=judged or (reading and panel.kind == "line"),
    )  # fmt: skip


def _with_extremes(store: Answers, question: Select) -> pa.Table:
    """What `store` answers, with the least and the greatest of each step where it left them out."""
    table = store.select(question)
    if not question.extremes or question.every_ms is None or not table.num_rows:
        return table
    for at, (_, aggregate) in enumerate(_EXTREMES):
        lacking = tuple(
            f
            for f in question.fields
            if f in table.column_names
            and not (pa.types.is_string(table[f].type) or pa.types.is_boolean(table[f].type))
            and extremes_of(f)[at] not in table.column_names
        )
        if not lacking:
            continue
        found = store.select(replace(question, aggregate=aggregate, extremes=False, fields=lacking))
        place = {row: n for n, row in enumerate(_rows(found))}
        taken = pa.array([place.get(row) for row in _rows(table)], pa.int64())
        for field in lacking:
            table = table.append_column(extremes_of(field)[at], found[field].take(taken))
    return table


def _rows(table: pa.Table) -> Iterator[tuple[str, int]]:
    return zip(table["key"].to_pylist(), table["window_start"].to_pylist(), strict=True)


def _by_class(question: Select, classes: tuple[str, ...]) -> list[Select]:
    """`question`, or one a class: readings are kept by class, and most of them are substations'."""
    if question.measurement != READING or question.device_class or not classes:
        return [question]
    return [replace(question, device_class=c) for c in classes]


def _together(tables: Sequence[pa.Table]) -> pa.Table:
    if len(tables) == 1:
        return tables[0]
    some = [t for t in tables if t.num_rows] or tables[:1]
    return pa.concat_tables(some, promote_options="permissive").sort_by("window_start")


def _of_classes(table: pa.Table, site: Site, scope: Scope, classes: tuple[str, ...]) -> pa.Table:
    if not classes or not table.num_rows:
        return table
    keys = [d.device for d in devices_in(site, scope) if d.device_class in classes]
    return table.filter(pc.is_in(table["key"], value_set=pa.array(keys, pa.string())))


def _lines(table: pa.Table, series: Series, index: int, question: Select) -> list[dict[str, Any]]:
    thinned = question.every_ms is not None
    bins = {"bin": question.every_ms} if thinned and question.aggregate != "last" else {}
    if series.across:
        return [{"key": "", "index": index, **_across(table, series), **bins}]
    lines = []
    for key in pc.unique(table["key"]).to_pylist():
        part = table.filter(pc.equal(table["key"], key))
        flags = _flags(part)
        lines.append(
            {
                "key": key,
                "index": index,
                "t": part["window_start"].to_pylist(),
                "v": _scaled(part[series.field], series.scale),
                "f": flags.to_pylist(),
                **bins,
            }
        )
    return lines


def _expected(site: Site, keys: Sequence[str], every_ms: int) -> dict[str, int]:
    """The step of a line whose `keys` report at least twice in each: one without a reading is a gap."""
    intervals = [site.devices[key].interval_s if key in site.devices else None for key in keys]
    often = all(s is not None and 2000 * s <= every_ms for s in intervals)
    return {"step": every_ms} if intervals and often else {}


def _judge(
    lines: Sequence[dict[str, Any]],
    table: pa.Table,
    question: Select,
    panel: Panel,
    series: Series,
    site: Site,
) -> None:
    """Tell of thinned readings what their means hide, and which of them cannot be so."""
    keys = sorted(pc.unique(table["key"]).to_pylist())
    for line in lines:
        line.update(_expected(site, [line["key"]] if line["key"] else keys, question.every_ms or 0))
    if series.across != "sum" or len(keys) == 1:
        _add_extremes(lines, table, series, question)
    if not series.across:
        _flag_outside(lines, table, question, series)
    if panel.kind != "line":  # only lines are drawn with their extremes
        for line in lines:
            line.pop("low", None)
            line.pop("high", None)


def _add_extremes(lines: Sequence[dict[str, Any]], table: pa.Table, series: Series, question: Select) -> None:
    """Give thinned lines the least and the greatest reading of every step: a mean hides both."""
    for (name, aggregate), column in zip(_EXTREMES, extremes_of(series.field), strict=True):
        across = replace(series, field=column, across=aggregate if series.across else "")
        found = _lines(table, across, 0, question)
        by_key = {x["key"]: dict(zip(x["t"], x["v"], strict=True)) for x in found}
        for line in lines:
            values = by_key.get(line["key"], {})
            line[name] = [values.get(t) for t in line["t"]]


def _flag_outside(lines: Sequence[dict[str, Any]], table: pa.Table, question: Select, series: Series) -> None:
    """Flag steps in which a value, or one that it is computed of, was beyond its physical range.

    The mean of such a step is of no use either: of the mean alone a short excursion would not be seen.
    """
    for field in judged_by(series.field):
        if field not in question.fields or field not in known:
            continue
        seen: list[dict[str, Any]] = [{**line} for line in lines]
        _add_extremes(seen, table, replace(series, field=field, scale=1.0), question)
        for line, found in zip(lines, seen, strict=True):
            line["f"] = np.where(_beyond(found, field), OUTSIDE, line["f"]).tolist()


def _plausible(table: pa.Table, series: Series) -> pa.Table:
    """`table` without steps of a device with a reading that cannot be: a line of several is of the others."""
    if not series.across or series.select.measurement != READING or not table.num_rows:
        return table
    bad = np.zeros(table.num_rows, dtype=np.bool_)
    for field in judged_by(series.field):
        for name in (field, *extremes_of(field)):
            if field in known and name in table.column_names:
                values = table[name].cast(pa.float64()).to_numpy()
                bad |= outside(values, known[field].low, known[field].high)
    if not bad.any():
        return table
    for name in (series.field, *extremes_of(series.field)):
        if name in table.column_names:
            at = table.column_names.index(name)
            table = table.set_column(at, name, pc.if_else(pa.array(bad), None, table[name]))
    return table


def _beyond(line: Mapping[str, Any], field: str) -> NDArray[np.bool_]:
    measurement = known[field]
    ends = (np.array(line[name], dtype=np.float64) for name in ("low", "high"))
    least, most = (outside(values, measurement.low, measurement.high) for values in ends)
    return least | most


def _flags(table: pa.Table) -> pa.ChunkedArray:
    if "status" not in table.column_names:
        return pa.chunked_array([pa.array(np.full(table.num_rows, FINAL))])
    provisional = pc.equal(table["status"], Status.PROVISIONAL.value)
    unknown = pc.equal(table["status"], Status.UNKNOWN.value)
    return pc.if_else(unknown, PARTIAL, pc.if_else(provisional, PROVISIONAL, FINAL))


def _across(table: pa.Table, series: Series) -> dict[str, list[Any]]:
    """One line of all keys: of those that have a value, flagged when some have none.

    By NumPy: Arrow's own grouping loads its query engine and, where it is installed, pandas, for a sum.
    """
    if not table.num_rows:
        return {"t": [], "v": [], "f": [], "of": [], "n": []}
    # Stores answer in order of time: rows of one time stand together.
    times, first = np.unique(table["window_start"].to_numpy(), return_index=True)
    values = table[series.field].cast(pa.float64()).to_numpy()
    lacking = np.isnan(values)
    of = np.diff(np.append(first, len(values)))
    n = of - np.add.reduceat(lacking, first, dtype=np.int64)
    if series.across in ("min", "max"):
        together = (np.fmin if series.across == "min" else np.fmax).reduceat(values, first)
    else:
        together = np.add.reduceat(np.where(lacking, 0.0, values), first)
        together = together / np.maximum(n, 1) if series.across == "mean" else together
    partial = n < of if series.across == "sum" else n == 0
    flags = np.maximum.reduceat(_flags(table).to_numpy(), first)
    shown = pa.chunked_array([pa.array(together, mask=n == 0)])
    return {
        "t": times.tolist(),
        "v": _scaled(shown, series.scale),
        "f": np.where(partial, PARTIAL, flags).tolist(),
        "of": of.tolist(),
        "n": n.tolist(),
    }


def _scaled(column: pa.ChunkedArray, scale: float) -> list[Any]:
    """Values in the shown unit, rounded where no display can follow; words and truths as they are."""
    values: list[Any] = column.to_pylist()
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        return [None if v is None else round(v * scale, 6) for v in values]
    return values


def _badness(line: dict[str, Any]) -> tuple[float, str]:
    values = [v for v in line["v"] if v is not None]
    return (sum(values), line["key"])
