"""Every panel and feed on a real InfluxDB that a replay filled: the embedded board's numbers, in Grafana too.

`tests/support/influxd.py` says which server, and what it is not.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path

import pytest
import yaml

from dashboards.grafana import render
from dashboards.history import panel_history
from dashboards.panels import pages
from dashboards.scope import Scope, narrowed
from hearthline import replaying
from hearthline.site_dir import open_site
from store.duckdb_series import DuckdbSeries
from store.influx_series import InfluxSeries
from store.params import time_text
from streams.core.beginning import Beginning
from tests.support.influxd import Influxd
from tests.support.simulated_cases import example, simulated

HOUR_MS = 3_600_000
AT, HOURS = 6, 12  # past the end of a day of the site
BEGIN_MS = 1_768_003_200_000 + AT * HOUR_MS  # 2026-01-10T06:00Z
STATION = "sub-01"


class Both(DuckdbSeries):
    """The store of a replay; what it is given, InfluxDB is given too."""

    def __init__(self, path, influx):
        super().__init__(path)
        self.influx = influx

    def write(self, outputs):
        super().write(outputs)
        self.influx.write(outputs)

    def close(self):
        """Not with the replay: questions come after it."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """The embedded store, InfluxDB, its buckets and the site, after one replay."""
    home = tmp_path_factory.mktemp("replayed")
    faults = (example("sensor_broken"), example("drop_out"))
    simulated(home / "sim", *faults, substations=2, trucks=2, at=AT, hours=HOURS, interval=300)
    site = open_site(home / "sim" / "site")
    with Influxd(home) as server, pytest.MonkeyPatch.context() as patch:
        buckets = server.database("hearthline"), server.database("hearthline_readings")
        influx = InfluxSeries(server.url, server.org, buckets[0], server.token, readings_bucket=buckets[1])
        both = Both(home / "series.duckdb", influx)
        patch.setattr(replaying, "DuckdbSeries", lambda *_a, **_k: both)
        # As if the tickets of the month's days before had been brought in: else its sums are unknown.
        patch.setattr(Beginning, "why_unknown", lambda *_: "")
        replaying.replay([home / "sim" / "telemetry.parquet"], site, home / "out")
        assert influx.refusals == []
        yield both, influx, buckets, site
        DuckdbSeries.close(both)
        influx.close()


def bounds(panel):
    """From, to and an hour's points: four where windows of a quarter are drawn as they are, else two."""
    more = 24 if panel.hours else 0  # rows of days
    an_hour = 4 if any(s.window_ms > 0 for s in panel.series) else 2
    return BEGIN_MS - more * HOUR_MS, BEGIN_MS + (HOURS + more) * HOUR_MS, an_hour


def on_the_board(store, site, panel, scope):
    """What the board draws: values by time, for each series and key that has any."""
    begin, end, an_hour = bounds(panel)
    points, over = (end - begin) * an_hour // HOUR_MS, end + 48 * HOUR_MS
    answer = panel_history(store, site, panel, scope, begin, end, points, over)
    lines = {
        (line["index"], line["key"]): {
            time_text(t): v for t, v in zip(line["t"], line["v"], strict=True) if v is not None
        }
        for line in answer["series"]
    }
    return {name: line for name, line in lines.items() if line}


def near(lines):
    """The same within what the board rounds away and what the order of a sum changes."""
    return {
        name: {
            t: v if isinstance(v, str) else pytest.approx(v, rel=1e-9, abs=1.1e-6) for t, v in line.items()
        }
        for name, line in lines.items()
    }


def test_every_panel_of_the_board_is_the_same_from_both_stores(filled):
    embedded, influx, _, site = filled
    unit = min(site.units)
    numbers = set()
    for panel in (panel for page in pages() for panel in page.panels):
        scope = Scope(device=STATION) if panel.scope == "device" else Scope(unit=unit)
        told, wanted = (on_the_board(store, site, panel, scope) for store in (influx, embedded))
        assert told == near(wanted), panel.id
        numbers |= {panel.id} if wanted else set()
    assert len(numbers) >= 35, sorted(numbers)


def test_every_feed_is_the_same_from_both_stores(filled):
    embedded, influx, _, site = filled
    feeds = {(f.select, f.scope) for page in pages() for f in page.feeds}
    found = set()
    for select, scope in feeds:
        asked = narrowed(select, Scope(device=STATION), to_device=scope == "device", site=site)
        told, wanted = (rows(store, asked) for store in (influx, embedded))
        assert told == wanted, asked
        found |= {asked.measurement} if wanted else set()
    assert len(found) >= 15, sorted(found)


def rows(store, select):
    """Rows in their order, without what is null; an empty text is no text to InfluxDB's tags."""
    return [
        {name: value for name, value in row.items() if value not in (None, "")}
        for row in store.select(select).to_pylist()
    ]


def test_every_panel_in_grafana_gives_the_numbers_of_the_embedded_board(filled):
    embedded, influx, buckets, site = filled
    numbers, ask = set(), cache(lambda query: influx._ask(query)[0].to_pylist())
    for page in pages():
        drawn, again = (
            [
                [t["query"] for t in p.get("targets", [])]
                for p in json.loads(render(page, language, *buckets))["panels"]
            ]
            for language in ("en", "zh")
        )
        assert drawn == again
        for panel, queries in zip(page.panels, drawn, strict=True):
            if queries and panel.kind != "matrix":
                scope = Scope(device=STATION) if panel.scope == "device" else Scope()
                shown = replace(panel, series=panel.unchosen)
                wanted = on_the_board(embedded, site, shown, scope)
                told = in_grafana(ask, site, shown, queries)
                assert told == near(wanted), panel.id
                numbers |= {panel.id} if wanted else set()
    assert len(numbers) >= 50, sorted(numbers)


def in_grafana(ask, site, panel, queries):
    """What Grafana would draw, as `on_the_board` has it."""
    lines = {}
    for index, query in enumerate(queries):
        for row in ask(as_sent(query, site, panel)):
            at = time_text(round(datetime.fromisoformat(row["_time"]).timestamp() * 1000))
            lines.setdefault((index, row.get("key", "")), {})[at] = row["_value"]
    return lines


def as_sent(query, site, panel):
    """The query with Grafana's variables filled in, as it does before it sends it."""
    begin, end, an_hour = bounds(panel)
    chosen = {
        c: [d.device for d in site.devices.values() if d.device_class == c] for c in ("plant", "substation")
    }
    for name, keys in {"device": [STATION], **chosen}.items():
        query = query.replace(f"${{{name}:json}}", json.dumps(keys))
    # InfluxDB 1.8 takes the end of a range in, 2 leaves it out.
    for name, text in {"Start": time_text(begin), "Stop": time_text(end - 1)}.items():
        query = query.replace(f"v.timeRange{name}", text)
    query = query.replace("v.windowPeriod", f"{60 // an_hour}m")
    assert "$" not in query
    return query


def test_the_last_seen_table_in_grafana_is_the_newest_reading_of_each_device(filled):
    embedded, influx, buckets, _ = filled
    for page in pages():
        document = json.loads(render(page, "en", *buckets))
        for panel, drawn in zip(page.panels, document["panels"], strict=True):
            if panel.kind == "matrix":
                feed = next(f for f in page.feeds if f.name in panel.feeds)
                table, _ = influx._ask(drawn["targets"][0]["query"])
                told = {row["key"]: row["received_ms"] for row in table.to_pylist()}
                assert told == {r["key"]: r["received_ms"] for r in embedded.select(feed.select).to_pylist()}
                assert len(told) >= 5


def test_grafanas_alert_rules_see_what_the_store_holds(filled):
    embedded, influx, (results, bucket), _ = filled
    file = Path(__file__).parents[2] / "deploy/grafana/provisioning/alerting/hearthline.yml"
    (group,) = yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
    told = {}
    for rule in group["rules"]:
        query = rule["data"][0]["model"]["query"]
        for name, real in {"hearthline_readings": bucket, "hearthline": results}.items():
            query = query.replace(f'"{name}"', f'"{real}"')
        for name, at in {"Start": BEGIN_MS - 24 * HOUR_MS, "Stop": BEGIN_MS + 48 * HOUR_MS}.items():
            query = query.replace(f"v.timeRange{name}", time_text(at))
        table, _ = influx._ask(query)
        told[rule["uid"]] = [row["_value"] for row in table.to_pylist()]
    count = embedded.counts()["reading"]
    assert told == {
        "hearthline-no-readings": [count],
        "hearthline-unaccounted": [0],
        "hearthline-refused": [],
    }
