"""Windows that are not drawn while they fill: a sum of a part of one would look like a fall."""

from __future__ import annotations

from dataclasses import replace

from dashboards.panels import NETWORK_WINDOW, Panel, Series
from dashboards.scope import Scope, narrowed, networks_in
from dashboards.shared import Answers
from models.site import Site

__all__ = ["first_until_ms", "window_ms"]


def window_ms(series: Series, site: Site, scope: Scope) -> int:
    """Length of the windows of `series`, 0 for any: of networks that differ the longest. [ms]"""
    if series.window_ms != NETWORK_WINDOW:
        return series.window_ms
    return max((1000 * n.window_s for n in networks_in(site, scope)), default=0)


def first_until_ms(
    store: Answers, site: Site, panel: Panel, scope: Scope, span: tuple[int, int], now_ms: int
) -> int | None:
    """When the first window of a panel, of which there is a row while it fills, is over; or None. [ms UTC]"""
    for series in panel.series:
        length_ms = window_ms(series, site, scope)
        from_ms = max(span[0], now_ms - length_ms + 1)
        if not length_ms or from_ms >= span[1]:
            continue
        asked = narrowed(series.select, scope, to_device=panel.scope == "device", site=site)
        question = replace(
            asked, fields=(series.field,), from_ms=from_ms, to_ms=span[1], latest=False, narrow=True, limit=1
        )
        rows = store.select(question).to_pylist()
        if rows:
            return int(rows[0]["window_start"]) + length_ms
    return None
