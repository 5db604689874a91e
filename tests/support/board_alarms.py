"""Alarms for the board's tests: one raised, one acknowledged, one shelved, one under a shared cause."""

from alerts.action import ALARM_STREAM
from alerts.actors import DAY_MS, Actor
from alerts.alarm import Alarm, Event, Member, Note, Phase, Shelf
from alerts.rows import ACTORS, QUALITY, actors_table, alarm_tables, quality_table
from alerts.scopes import DESK
from models.anomaly import Severity
from models.results import Outputs
from tests.support.board_data import NOW_MS

MIN = 60_000
_WORST = (
    ("sub-03", "pump_trip"), ("branch:net-1/east", "shared_cause"), ("sub-07", "hunting"),
    ("network:net-1", "primary_leak"), ("plate:冀A5131", "route_deviation"), ("sub-05", "air"),
    ("contract:2026-Q1-01", "contract_shortfall"), ("sub-08", "high_return"), ("sub-01", "flow_meter_drift"),
    ("meter-02", "sensor_bias"),
)  # fmt: skip


def alarm(subject: str, code: str, severity: Severity, phase: Phase, minutes: int, **more) -> Alarm:
    first = NOW_MS - minutes * MIN
    made = Alarm(
        f"{subject}:{code}:{first}", subject, code, severity, first, first, "donghe", "north", phase=phase,
        raised_ms=first, score=2.5, evidence={"rule": "secondary differential pressure to 0", "dp_kpa": 0.4}, **more,
    )  # fmt: skip
    made.members[made.id] = Member(first, NOW_MS, True, False, severity, 1)
    return made


def seed_alarms(store) -> list[Alarm]:
    """Write them; the first is the one that asks for something."""
    made = [
        alarm("sub-03", "pump_trip", Severity.CRITICAL, Phase.RAISED, 40),
        alarm("sub-05", "air", Severity.MINOR, Phase.ACKNOWLEDGED, 300, acknowledged_by="王", owner="李"),
        alarm(
            "sub-07", "hunting", Severity.MAJOR, Phase.RAISED, 90, shelf=Shelf(NOW_MS + 60 * MIN, "valve on order", "李")
        ),
        alarm("sub-08", "high_return", Severity.MAJOR, Phase.RAISED, 60, suppressed="cause:branch"),
    ]  # fmt: skip
    made[2].evidence = {
        "rule": "longest run without a change", "silent_since_ms": NOW_MS - 90 * MIN,
        "channels": [{"channel": "supply_c", "run_s": 5400.0}, {"channel": "flow_m3_h", "run_s": 7200.25}],
        "numbers": {"turns_h": 8.123456, "nothing": None},
    }  # fmt: skip
    made[1].events.append(Event(0, NOW_MS, Note.COMMENTED, Phase.ACKNOWLEDGED, "王", "<b>vented</b> twice"))
    outputs = Outputs(ALARM_STREAM)
    for name, table in alarm_tables(made, ALARM_STREAM).items():
        outputs.add(name, table)
    for n in range(12):
        figures = {
            "alarms": n, "standing": 2, "unacknowledged": 1, "stale": 0, "a_day": 48.0, "worst_10_min": 11, "flood_pct": 0.5, "chatter": 0,
            "coverage": 5 / 24,
        }  # fmt: skip
        of = {DESK: figures, "region:north": {**figures, "region": "north", "standing": 1}}
        outputs.add(
            QUALITY, quality_table(NOW_MS // 600_000 * 600_000 - n * 600_000, 600_000, of, ALARM_STREAM)
        )
    worst = [
        Actor(subject, code, "donghe", "north", 60 - 5 * n, 12 - n, 12.5 - n, 30 - 3 * n, 4 - n // 3)
        for n, (subject, code) in enumerate(_WORST)
    ]
    today = {DESK: worst, "region:north": worst[2:6]}
    places = {DESK: {"unit": "", "region": ""}, "region:north": {"unit": "", "region": "north"}}
    outputs.add(ACTORS, actors_table(today, places, NOW_MS // DAY_MS * DAY_MS, ALARM_STREAM))
    yesterday = {DESK: worst[:3]}
    outputs.add(ACTORS, actors_table(yesterday, places, NOW_MS // DAY_MS * DAY_MS - DAY_MS, ALARM_STREAM))
    store.write([outputs])
    return made
