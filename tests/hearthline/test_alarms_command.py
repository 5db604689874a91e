"""Alarms as an operator meets them: a siren, the list, what is done, and rules tried on the past."""

import csv
import io
import json
import re
import threading
import time

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from typer.testing import CliRunner

from hearthline.cli import UsageError, build
from hearthline.rehearsing import told as in_words
from models.anomaly import ANOMALY, Anomaly, Severity, State, anomaly_table
from models.results import Outputs
from store.duckdb_series import DuckdbSeries
from tests.support import system
from tests.support.series import heat, heats
from tests.support.system import Publisher, Server, write_site
from tests.support.waiting import PATIENCE_S, until

SITE = {
    "site.toml": '[site]\nid = "s"\nname = "s"\ntimezone = "Asia/Shanghai"\n[[region]]\nid = "r1"\nname = "r"\n'
    '[[unit]]\nid = "u1"\nregion = "r1"\nname = "u"\n',
    "devices.csv": "device,class,unit,name,interval_s\n"
    + "".join(f"sub-{n},substation,u1,Sub {n},10\n" for n in range(40)),
}
RULES = """
[[channel]]
id = "hall"
kind = "mqtt"
topic = "sirens/hall"
[[channel]]
id = "dead"
kind = "webhook"
url = "http://127.0.0.1:9/"
timeout_s = 1
[[person]]
id = "li"
channels = ["dead"]
[[route]]
id = "duty"
steps = ["li"]
group_wait_s = 0
sirens = ["hall"]
[[fast]]
code = "pressure_high"
measurement = "supply_kpa"
above = 1600
clear = 1500
severity = "critical"
[[rule]]
route = "duty"
"""


def run(*words, code=0):
    """The command within this process: a process of its own takes seconds to start."""
    done = CliRunner().invoke(build(), list(map(str, words)))
    if isinstance(done.exception, UsageError):
        assert code == 2, done.exception
        return done
    assert done.exit_code == code, (words, done.output, done.exception)
    return done


class Siren:
    def __init__(self, url):
        host, _, port = url.removeprefix("mqtt://").rpartition(":")
        self.heard = []
        ready = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda c, *_: c.subscribe("sirens/#", qos=1)
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.on_message = lambda _c, _d, m: self.heard.append(json.loads(m.payload)["alarms"][0])
        self._client.connect(host, int(port))
        self._client.loop_start()
        assert ready.wait(PATIENCE_S)

    def stop(self):
        self._client.disconnect()
        self._client.loop_stop()


def test_a_reading_beyond_a_limit_sounds_the_siren_and_is_handled(tmp_path):
    site = write_site(tmp_path / "site", {**SITE, "alerts.toml": RULES})
    with Server(tmp_path, site, None) as server, Publisher(server.broker) as publish:
        server.ready_for_messages()
        assert run("alarms", "unsent", "--data-dir", server.data).stdout == "every message arrived\n"
        siren = Siren(server.broker)
        boot = round(time.time() * 1000)

        def sample(seq, kpa):
            body = {
                "boot": boot,
                "seq": seq,
                "samples": [{"t": round(time.time() * 1000), "supply_kpa": kpa}],
            }
            publish("hearthline/v1/r1/u1/sub-1/telemetry", body)

        sample(1, 1000.0)
        sample(2, 1700.0)
        until(lambda: siren.heard, "the siren sounds")
        told = siren.heard[0]
        assert (told["subject"], told["code"], told["note"], told["provisional"]) == (
            "sub-1", "pressure_high", "raised", True,
        )  # fmt: skip
        where = ("--data-dir", server.data)
        listed = until(lambda: json.loads(run("alarms", "list", *where, "--json").stdout), "it is listed")
        assert [(a["id"], a["state"], a["priority"]) for a in listed] == [(told["alarm"], "raised", 1)]
        run("alarms", "ack", told["alarm"], "--who", "李", *where)
        run("alarms", "assign", told["alarm"], "王", "--who", "李", *where)
        run("alarms", "comment", told["alarm"], "=valve closed by hand", "--who", "李", *where)
        refused = run("alarms", "ack", told["alarm"], "--who", "王", *where, code=1)
        assert "acknowledged by 李" in refused.stderr
        works = ("--who", "李", "--reason", "new pump", "--hours", 1, *where)
        refused = run("alarms", "maintain", "unit:nosuch", *works, code=1)
        assert (
            "expected *, a device, or region:, unit:, network: and its id, got 'unit:nosuch'"
            in refused.stderr
        )
        run("alarms", "maintain", "unit:u1", "--code", "air", *works)
        until(lambda: siren.heard[1:], "the siren is silenced")
        assert (siren.heard[1]["alarm"], siren.heard[1]["who"]) == (told["alarm"], "李")

        def row():
            return next(csv.DictReader(io.StringIO(run("alarms", "list", *where, "--csv").stdout)))

        until(lambda: row()["owner"] == "王", "the board has what was done")
        assert row()["acknowledged_by"] == "李"
        sample(3, 1400.0)
        until(
            lambda: (
                [(h["note"], h["sounds"]) for h in siren.heard]
                == [("raised", True), ("acknowledged", False), ("cleared", False)]
            ),
            "the siren is told of the end",
        )
        lost = json.loads(run("alarms", "unsent", *where, "--json").stdout)
        assert {x["recipient"] for x in lost} == {"li"}
        assert "dead: expected it to take a request" in lost[0]["error"]
        assert server.states()["alerts"] == "degraded"
        siren.stop()
        server.stop()
    # What was done is in the journal, and the next start goes on from the records.
    with Server(tmp_path, site, None) as server:
        listed = json.loads(run("alarms", "list", "--data-dir", server.data, "--json").stdout)
        assert [(a["state"], a["owner"], a["comments"][0]["text"]) for a in listed] == [
            ("cleared", "王", "=valve closed by hand")
        ]


def test_without_a_channel_it_is_said_that_nobody_is_told(tmp_path):
    with Server(tmp_path, write_site(tmp_path / "site", SITE), None) as server:
        where = ("--data-dir", server.data)
        assert run("alarms", "unsent", *where).stdout == (
            "no message was sent: this server has no channel, which an alerts.toml would give it\n"
        )
        assert json.loads(run("alarms", "unsent", *where, "--json").stdout) == []


def test_a_wrong_rules_file_stops_the_start_with_line_and_field(tmp_path):
    text = RULES.replace("[[rule]]\n", '[[rule]]\non_delay_s = -5\ncodes = ["pump_trap"]\n')
    site = write_site(tmp_path / "site", {**SITE, "alerts.toml": text})
    done = system.run(
        "up", "--site", site, "--data-dir", tmp_path / "data", "--port", 0, "--mqtt-port", 0, code=2
    )
    at = text.splitlines().index("on_delay_s = -5") + 1
    assert f"alerts.toml:{at}:1: on_delay_s: expected a number from 0" in done.stderr
    assert f"alerts.toml:{at + 1}:1: codes: expected known codes, got 'pump_trap'" in done.stderr


LOUD = """
[[channel]]
id = "x"
kind = "webhook"
url = "http://127.0.0.1:9/"
[[person]]
id = "li"
channels = ["x"]
[[route]]
id = "duty"
steps = ["li"]
"""
DAY = 86_400_000
T0 = 1_767_585_600_000


@pytest.fixture
def past(tmp_path):
    """Thirty days of conditions: a chattering one, a standing one, and a morning on which forty come at once."""
    store = DuckdbSeries(tmp_path / "data" / "series.duckdb")
    found = []
    for n in range(60):  # every half a day for a quarter of an hour
        first = T0 + n * DAY // 2
        found.append(("sub-1", "air", Severity.MINOR, first, first + 900_000, State.ENDED))
    found.append(("sub-2", "fouled_exchanger", Severity.MINOR, T0 + DAY, T0 + 29 * DAY, State.ACTIVE))
    found += [(f"sub-{n}", "high_return", Severity.INFO, T0 + 10 * DAY, T0 + 10 * DAY + 3_600_000, State.ENDED)
              for n in range(40)]  # fmt: skip
    anomalies = [
        Anomaly(s, c, v, 1.5, {}, first, last, 900_000, "u1", "r1", state)
        for s, c, v, first, last, state in found
    ]
    outputs = Outputs("u1", 1)
    outputs.add(ANOMALY, anomaly_table(anomalies, "u1"))
    store.write([outputs])
    store.close()
    return tmp_path / "data"


def test_rules_are_tried_on_the_past_and_refused_beyond_the_limits(tmp_path, past):
    loud = LOUD
    site = write_site(tmp_path / "site", {**SITE, "alerts.toml": loud + '[[rule]]\nroute = "duty"\n'})
    quiet = tmp_path / "quiet.toml"
    quiet.write_text(
        loud
        + '[[rule]]\ncodes = ["high_return", "fouled_exchanger"]\n[[rule]]\nroute = "duty"\non_delay_s = 60\n'
    )
    where = ("--site", site, "--data-dir", past, "--json")
    result = json.loads(run("alarms", "replay", "--days", 40, "--rules", quiet, *where).stdout)
    before, after = result["before"], result["after"]
    assert (before["alarms"], before["worst_10_min"], before["stale"]) == (101, 41, 1)
    assert before["flood_pct"] > 0
    assert (after["alarms"], after["worst_10_min"], after["stale"], after["flood_pct"]) == (60, 1, 0, 0)
    assert result["over"] == []
    louder = tmp_path / "louder.toml"
    louder.write_text(loud + '[limits]\nworst_10_min = 5\n[[rule]]\nroute = "duty"\n')
    refused = run("alarms", "replay", "--days", 40, "--rules", louder, *where, code=1)
    assert "worst 10 minutes: expected at most 5, got 41" in refused.stderr
    forced = run(
        "alarms", "replay", "--days", 40, "--rules", louder, *where, "--force", "first week of heating"
    )
    assert json.loads(forced.stdout)["forced"] == "first week of heating"
    run("alarms", "replay", "--rules", louder, *where, "--force", " ", code=2)
    truth = tmp_path / "truth_faults.json"
    faults = [
        {"kind": "fouling", "place": "sub-2", "onset_ms": T0, "deadline_ms": T0 + 9 * DAY},
        {"kind": "air", "place": "sub-1", "onset_ms": T0, "deadline_ms": T0 + 9 * DAY},
    ]
    truth.write_text(json.dumps({"faults": faults}))
    found = json.loads(
        run("alarms", "replay", "--days", 40, "--rules", quiet, "--truth", truth, *where).stdout
    )
    assert found["truth"]["before"]["missed"] == []
    assert found["truth"]["after"] == {"caught": ["air at sub-1"], "missed": ["fouling at sub-2"]}
    text = run("alarms", "replay", "--days", 40, "--site", site, "--data-dir", past).stdout
    assert re.search(r"^worst 10 minutes +41 +10$", text, re.MULTILINE)
    assert "after" not in text
    lax = tmp_path / "lax.toml"  # rules that allow themselves what the present ones do not
    lax.write_text(loud + '[limits]\nworst_10_min = 100\nstale = 9\n[[rule]]\nroute = "duty"\n')
    refused = run("alarms", "replay", "--days", 40, "--rules", lax, *where, code=1)
    assert "worst 10 minutes: expected at most 10, got 41" in refused.stderr


def test_days_of_which_nothing_is_known_water_nothing_down(tmp_path):
    store = DuckdbSeries(tmp_path / "data" / "series.duckdb")
    found = [
        Anomaly(f"sub-{n}", "air", Severity.MINOR, 1.5, {}, T0 + n * 400_000, T0 + n * 400_000 + 300_000,
                300_000, "u1", "r1", State.ENDED)
        for n in range(400)
    ]  # fmt: skip
    outputs = Outputs("u1", 1)
    outputs.add(ANOMALY, anomaly_table(found, "u1"))
    store.write([outputs])
    store.close()
    site = write_site(tmp_path / "site", {**SITE, "alerts.toml": LOUD + '[[rule]]\nroute = "duty"\n'})
    new = tmp_path / "new.toml"
    new.write_text("[alerts]\ndesks = 9\n" + LOUD + '[[rule]]\nroute = "duty"\n')
    where = ("--site", site, "--data-dir", tmp_path / "data", "--json")
    told = run("alarms", "replay", "--days", 30, "--rules", new, *where, code=1)
    result = json.loads(told.stdout)
    # 400 in two days at one desk are not 13 a day; nor does a file give itself nine desks.
    assert result["measured_days"] < 2.1
    assert f"in {result['measured_days']:.3g} days (of 30: nothing is known of before)" in in_words(result)
    assert result["after"]["a_day"] == result["before"]["a_day"] > 190
    assert "alarms a desk a day: expected at most 150" in told.stderr


def test_a_week_without_alarms_is_a_week(tmp_path, past):
    """What is stored goes on for twenty days after the last alarm."""
    store = DuckdbSeries(past / "series.duckdb")
    late = Outputs("u1", 2)
    late.add("device_heat", heats(heat("sub-1", T0 + 51 * DAY, 1.0)))
    store.write([late])
    store.close()
    site = write_site(tmp_path / "site", SITE)
    said = json.loads(
        run("alarms", "report", "--site", site, "--language", "en", "--data-dir", past, "--json").stdout
    )
    assert said["after"]["alarms"] == 0
    assert said["to"] >= T0 + 51 * DAY


def test_the_week_is_reported_in_both_languages(tmp_path, past):
    site = write_site(tmp_path / "site", SITE)
    for language, words in (("zh", "近七日告警"), ("en", "Alarms of the last seven days")):
        text = run("alarms", "report", "--site", site, "--language", language, "--data-dir", past).stdout
        assert text.startswith(words)
        assert ("除污" in text or "积气" in text) == (language == "zh")
