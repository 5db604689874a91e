"""A rules file is read whole, and every fault of it is named by file, line and field."""

import re
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from alerts.hours import Hours, Week
from alerts.rules import SitePolicy
from alerts.rules_file import RulesError
from models.anomaly import Severity
from tests.support.alarm_book import Driven, condition
from tests.support.alert_site import rules, site

GOOD = """
[alerts]
desks = 2
shared_cause_least = 7
[limits]
a_day = 100
[[channel]]
id = "mail"
kind = "email"
url = "smtp://127.0.0.1:25"
from = "alerts@example.org"
to = ["li@example.org"]
fallback = "hook"
[[channel]]
id = "hook"
kind = "webhook"
url = "https://hooks.example.org/x"
secret_env = "HOOK"
[[channel]]
id = "ding"
kind = "dingtalk"
secret_file = "ding.txt"
[[channel]]
id = "hall"
kind = "mqtt"
topic = "sirens/hall"
[[person]]
id = "li"
name = "李"
channels = ["mail"]
quiet = "22:00-07:00"
[[person]]
id = "wang"
channels = ["ding"]
language = "en"
[[roster]]
id = "duty"
[[shift]]
roster = "duty"
persons = ["li"]
hours = "08:00-20:00"
[[shift]]
roster = "duty"
persons = ["wang"]
hours = "20:00-08:00"
[[route]]
id = "all"
steps = ["duty", "wang"]
sirens = ["hall"]
[[fast]]
code = "supply_pressure_high"
measurement = "supply_kpa"
above = 1600
clear = 1500
severity = "critical"
[[rule]]
codes = ["supply_pressure_high", "pump_trip"]
scopes = ["unit:u1"]
route = "all"
[[rule]]
severities = ["info"]
[[rule]]
hours = "08:00-18:00"
days = ["mon", "fri"]
on_delay_s = 60
severity = "minor"
route = "all"
"""


@pytest.fixture
def secrets(tmp_path):
    (tmp_path / "ding.txt").write_text("token-of-a-robot\n")
    return {"environ": {"HOOK": "s3cret"}, "directory": tmp_path}


def test_a_good_file_is_read_whole(secrets):
    read = rules(GOOD, **secrets)
    assert read.desks == 2
    assert read.shared.least == 7
    assert read.limits.a_day == 100
    assert read.channels["ding"].url == "dingtalk://token-of-a-robot"
    assert read.channels["hook"].secret == "s3cret"
    assert "s3cret" not in repr(read)
    assert "token" not in repr(read)
    assert read.persons["li"].quiet == Week(hours=Hours(22 * 60, 7 * 60))
    assert read.fast[0].clear == 1500
    at = [datetime(2026, 1, 5, hour, tzinfo=ZoneInfo("Asia/Shanghai")) for hour in (7, 8, 19, 20)]
    assert [read.rosters["duty"].on_duty(t) for t in at] == [("wang",), ("li",), ("li",), ("wang",)]


def test_the_first_rule_that_fits_counts(secrets):
    policy = SitePolicy(rules(GOOD, **secrets), site(3))
    d = Driven()
    monday_noon = 1_767_585_600_000 + 4 * 3_600_000  # 2026-01-05 12:00 in Shanghai
    for code, severity in (
        ("pump_trip", Severity.INFO),
        ("high_return", Severity.INFO),
        ("air", Severity.MAJOR),
    ):
        d.push(monday_noon, condition("sub-001", monday_noon, code=code, severity=severity))
    terms = {a.code: policy.terms(a, monday_noon) for a in d.book.alarms.values()}
    assert (terms["pump_trip"].route, terms["pump_trip"].steps) == ("all", 2)
    assert not terms["high_return"].notify
    assert (terms["air"].on_delay_ms, terms["air"].severity) == (60_000, Severity.MINOR)
    air = next(a for a in d.book.alarms.values() if a.code == "air")
    assert not policy.terms(air, monday_noon + 86_400_000).notify  # a Tuesday
    assert policy.covers("network:n1", air)
    assert not policy.covers("network:n2", air)


def test_branches_begin_where_the_way_from_the_plant_parts():
    policy = SitePolicy(rules(""), site(3))
    assert policy.group("sub-001", "u1") == policy.group("sub-002", "u1") == "branch:n1/east"
    assert policy.group("sub-west", "u1") == "branch:n1/w1"


FAULTS = {
    "unknown code": ('codes = ["supply_pressure_high", "pump_trip"]', 'codes = ["pump_trap"]', "codes: .*'pump_trap'"),
    "negative delay": ("on_delay_s = 60", "on_delay_s = -60", "on_delay_s: expected a number from 0"),
    "roster with a hole": ('hours = "20:00-08:00"', 'hours = "20:00-07:30"', "id: .* mon 07:30 to mon 08:00"),
    "mail without credentials": ("smtp://127.0.0.1:25", "smtp://mail.example.org", "url: .*credentials"),
    "user without credentials": ('from = "alerts', 'user = "x"\nfrom = "alerts', "user: expected credentials"),
    "service without credentials": ('secret_file = "ding.txt"\n', "", "kind: expected credentials of dingtalk"),
    "secret that is not there": ('secret_env = "HOOK"', 'secret_env = "HOOP"', "secret_env: .* HOOP"),
    "file that is not there": ("ding.txt", "dong.txt", "secret_file: .*dong.txt"),
    "password in a URL": ("smtp://127", "smtp://a:b@127", "url: .* without a password"),
    "plain http": ("https://hooks", "http://hooks", "url: expected https"),
    "unknown key": ("on_delay_s", "on_dealy_s", "unknown key 'on_dealy_s'"),
    "unknown table": ("[[roster]]", "[[rooster]]", "unknown table 'rooster'"),
    "unknown person": ('persons = ["wang"]', 'persons = ["wong"]', "persons: expected the id of a person"),
    "unknown channel": ('channels = ["ding"]', 'channels = ["dong"]', "channels: expected the id of a channel"),
    "unknown roster": ('steps = ["duty"', 'steps = ["dusty"', "steps: expected the id of a roster or person"),
    "unknown route": ('route = "all"\n[[rule]]\nsev', 'route = "al"\n[[rule]]\nsev', "route: expected the id"),
    "unknown scope": ("unit:u1", "unit:u7", "scopes: expected"),
    "unknown bridge": ("unit:u1", "bridge:gone", "scopes: expected .*'bridge:gone'"),
    "unknown stream": ("unit:u1", "haulage:gone", "scopes: expected .*'haulage:gone'"),
    "plate of no name": ("unit:u1", "plate:", "scopes: expected .*'plate:'"),
    "bad hours": ('"22:00-07:00"', '"10pm"', "quiet: expected hours such as"),
    "bad day": ('"fri"', '"friday"', "days: expected a list of mon"),
    "twice": ('id = "wang"', 'id = "li"', "id: expected a name of its own"),
    "no gauge": ("supply_kpa", "energy_gj", "measurement: expected a gauge"),
    "both sides": ("above = 1600", "above = 1600\nbelow = 3", "code: expected either above or below, got both"),
    "clear beyond": ("clear = 1500", "clear = 1700", "clear: expected it on the good side"),
    "no topic": ('topic = "sirens/hall"', "", "topic: expected this key"),
    "nested days": ('["mon", "fri"]', '[["mon"]]', "days: expected a list of mon"),
    "a number beyond all": ("on_delay_s = 60", "on_delay_s = " + "9" * 400, "on_delay_s: expected a number from 0"),
    "topic for many": ("sirens/hall", "sirens/#", "topic: expected a topic .* without #"),
    "topic too long": ("sirens/hall", "a" * 65_536, "topic: expected a topic of at most 65535 bytes"),
    "roster named as a person": ('[[roster]]\nid = "duty"', '[[roster]]\nid = "li"', "id: expected no person's id, got 'li'"),
    "one fast rule twice": ("[[rule]]\ncodes", '[[fast]]\ncode = "supply_pressure_high"\nmeasurement = "return_kpa"\nabove = 9\n[[rule]]\ncodes', "code: expected one rule a code and class"),
    "mail to no address": ('to = ["li@example.org"]', 'to = ["li"]', "to: expected a mail address .*'li'"),
    "mail to no place": ('to = ["li@example.org"]', 'to = ["li@"]', "to: expected a mail address .*'li@'"),
    "mail to two lines": ('"li@example.org"', r'"li@example.org\nBcc: all@example.org"', "to: expected a mail address"),
    "mail to a name": ('"li@example.org"', '"Li <li@example.org>"', "to: expected a mail address .*'Li <"),
    "mail to letters beyond ASCII": ('"li@example.org"', '"李@example.org"', "to: expected a mail address .*'李@"),
    "mail to a place beyond ASCII": ('"li@example.org"', '"li@例子.cn"', "to: expected a mail address .*'li@例子"),
    "mail to a blank and a name": ('"li@example.org"', '" li@example.org"', "to: expected a mail address .*' li@"),
    "mail to a tab and a name": ('"li@example.org"', r'"\tli@example.org"', "to: expected a mail address"),
    "mail from no address": ('from = "alerts@example.org"', 'from = "alerts"', "from: expected a mail address .*'alerts'"),
    "mail from two lines": ('"alerts@example.org"', r'"a@example.org\r\nTo: x@y.z"', "from: expected a mail address"),
    "fallback on itself": ('fallback = "hook"', 'fallback = "mail"', "fallback: expected a way that does not come back to 'mail', got 'mail'"),
    "fallback in a ring": ('secret_env = "HOOK"', 'secret_env = "HOOK"\nfallback = "mail"', "fallback: expected a way that does not come back to 'hook', got 'mail'"),
    "a board that is a script": ("desks = 2", 'board_url = "javascript:alert(1)"', "board_url: expected http://.*'javascript:alert"),
    "a board that is a script of a host": ("desks = 2", 'board_url = "javascript://board.example/%0aalert(1)"', "board_url: expected http://"),
    "a board of no host": ("desks = 2", 'board_url = "http:///alarms"', "board_url: expected http://.*'http:///alarms'"),
    "a board with a user": ("desks = 2", 'board_url = "https://a:b@board.example"', "board_url: expected http://"),
    "a board of two lines": ("desks = 2", r'board_url = "http://board.example\n/x"', "board_url: expected http://"),
    "siren among the data": ("sirens/hall", "hearthline/v1/r1/u1/sub-001/telemetry", "topic: expected a topic outside hearthline/v1"),
    "siren on top of the data": ("sirens/hall", "hearthline/v1", "topic: expected a topic outside hearthline/v1"),
    "siren of the broker": ("sirens/hall", "$SYS/hall", "topic: expected a topic that does not begin with"),
    "certificates that are not there": ('url = "https://hooks.example.org/x"', 'url = "https://hooks.example.org/x"\nca_file = "none.pem"', "ca_file: expected a PEM file of certificates to trust in .*none.pem"),
    "certificates and nothing to trust": ('url = "smtp://127.0.0.1:25"', 'url = "smtps://127.0.0.1:25"\nca_file = "pyproject.toml"', "ca_file: expected a PEM file"),
    "certificates for mail without TLS": ('url = "smtp://127.0.0.1:25"', 'url = "smtp://127.0.0.1:25"\nca_file = "x.pem"', "ca_file: expected a url with TLS beside it"),
    "certificates without TLS": ('topic = "sirens/hall"', 'topic = "sirens/hall"\nca_file = "x.pem"', "ca_file: expected a url with TLS beside it, got none"),
    "certificates of a service": ('kind = "dingtalk"', 'kind = "dingtalk"\nca_file = "x.pem"', "ca_file: expected no certificates for dingtalk"),
    "no TOML": ("[limits]", "[limits", "expected TOML"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_by_file_line_and_field(name, secrets):
    old, new, words = FAULTS[name]
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    with pytest.raises(RulesError) as told:
        rules(text, **secrets)
    lines = str(told.value).splitlines()
    found = [line for line in lines if re.search(words, line)]
    assert found, lines
    at = int(re.match(r"alerts\.toml:(\d+):\d+: ", found[0])[1])
    changed = next(
        (n for n, (a, b) in enumerate(zip(GOOD.splitlines(), text.splitlines(), strict=False), 1) if a != b),
        1,
    )
    named = re.match(r"alerts\.toml:\d+:\d+: (\w+):", found[0])
    if name == "roster with a hole":
        assert text.splitlines()[at - 1] == 'id = "duty"'
    elif named and named[1] in new:
        assert named[1] in text.splitlines()[at - 1] or abs(at - changed) <= 1


DAY_ONLY = (
    GOOD.replace('steps = ["duty", "wang"]', 'steps = ["duty"]')
    .replace('id = "duty"', 'id = "duty"\nhours = "08:00-20:00"')
    .replace('hours = "20:00-08:00"', 'hours = "08:00-12:00"')
)


def test_every_channel_of_a_ring_is_named_and_none_that_leads_into_it(secrets):
    ring = GOOD.replace('secret_env = "HOOK"', 'secret_env = "HOOK"\nfallback = "hall"')
    ring = ring.replace('topic = "sirens/hall"', 'topic = "sirens/hall"\nfallback = "hook"')
    with pytest.raises(RulesError) as told:
        rules(ring, **secrets)
    assert [line.partition("come back to ")[2] for line in str(told.value).splitlines()] == [
        "'hook', got 'hall'", "'hall', got 'hook'"
    ]  # fmt: skip


def test_a_topic_and_a_board_beside_the_data_are_good(secrets):
    text = GOOD.replace("sirens/hall", "hearthline/v10/hall").replace(
        "desks = 2", 'board_url = "https://board.example:8443/heat"'
    )
    read = rules(text, **secrets)
    assert read.channels["hall"].topic == "hearthline/v10/hall"
    assert read.board_url == "https://board.example:8443/heat"


def test_a_rule_that_reaches_nobody_at_some_hour_is_a_fault(secrets):
    with pytest.raises(RulesError) as told:
        rules(DAY_ONLY, **secrets)
    (line,) = [x for x in str(told.value).splitlines() if "nobody" in x]
    at = int(re.match(r"alerts\.toml:(\d+):\d+: route: .* mon 00:00 to mon 08:00", line)[1])
    assert "pump_trip" in "".join(DAY_ONLY.splitlines()[at - 3 : at])
    # Where another step has somebody, or the rule has the hours of its roster, nobody is missed.
    rules(DAY_ONLY.replace('steps = ["duty"]', 'steps = ["duty", "wang"]'), **secrets)
    rules(DAY_ONLY.replace('scopes = ["unit:u1"]', 'hours = "08:00-20:00"'), **secrets)


def test_fast_rules_of_classes_apart_may_share_a_code(secrets):
    one = GOOD.replace("above = 1600", 'above = 1600\nclasses = ["plant"]')
    other = '[[fast]]\ncode = "supply_pressure_high"\nmeasurement = "supply_kpa"\nabove = 900\nclasses = ["substation"]\n'
    assert len(rules(one + other, **secrets).fast) == 2


@pytest.mark.parametrize(("at", "end"), [("00:15", "01:30"), ("01:15", "01:30"), ("01:45", "01:45")])
def test_hours_go_through_an_hour_that_comes_twice(at, end):
    """Clocks in Berlin go back from 03:00 to 02:00 on 2026-10-25, at 01:00 UTC."""
    night, zone = Week(hours=Hours(22 * 60, 2 * 60 + 30)), ZoneInfo("Europe/Berlin")
    at_ms, end_ms = (
        round(datetime.fromisoformat(f"2026-10-25T{t}+00:00").timestamp() * 1000) for t in (at, end)
    )
    # The quiet hours hold until 02:30 for the first time, and from 02:00 to 02:30 once more.
    found = night.end_after(at_ms, zone)
    assert found == (end_ms if at != "00:15" else at_ms + 15 * 60_000)
    assert not night.holds(datetime.fromtimestamp(found / 1000, zone))


def test_all_faults_are_told_at_once(secrets):
    text = GOOD.replace("pump_trip", "pump_trap").replace("on_delay_s = 60", "on_delay_s = -1")
    with pytest.raises(RulesError) as told:
        rules(text, **secrets)
    assert len(told.value.faults) == 2


def test_no_file_at_all_is_a_rule_set_that_tells_nobody():
    policy = SitePolicy(rules(""), site(3))
    d = Driven()
    d.push(0, condition())
    assert not policy.terms(d.one(), 0).notify
