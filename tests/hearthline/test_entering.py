"""What people enter by hand is a frame in the journal, or is refused with what was expected."""

from dataclasses import replace

import pytest

from dashboards.api import ActionRefusedError
from hearthline.entering import Entries
from ingest.messages import ClockMode
from ingest.service import Ingest
from journal.sqlite import SqliteJournal
from models.frame import Frame, FrameKind
from models.site import Device
from tests.support.board_data import NOW_MS, make_site

FLUSH = {"event": "flush", "who": "李", "network": "net-1", "volume_m3": "12.5"}
SURVEY = {"event": "survey", "who": "李", "unit": "donghe", "stock_t": 0}
CORRECT = {"event": "correct", "who": "李", "unit": "donghe", "ticket": "T-7", "step": "gross", "mass_kg": 47300, "note": "typed wrong"}  # fmt: skip


def samples(journal, stream):
    frames = [Frame.decode(r.frame) for r in journal.read(stream, -1)]
    batches = [f.batch for f in frames if f.kind is FrameKind.TELEMETRY]
    return [{k: v for k, v in row.items() if v is not None} for b in batches for row in b.to_pylist()]


@pytest.fixture
def entered(tmp_path):
    plain = make_site(2)
    offices = {
        "office-1": Device("office-1", "office", "donghe", "donghe"),
        "office-2": Device("office-2", "office", "donghe", "haulage"),
    }
    site = replace(plain, devices={**plain.devices, **offices})
    journal = SqliteJournal(tmp_path / "journal.sqlite3", lambda: NOW_MS)
    ingest = Ingest(journal, site, None, lambda: NOW_MS)
    made = Entries(site, journal, ingest, lambda: NOW_MS, ClockMode.WALL)

    made.samples = lambda: samples(journal, "donghe") + samples(journal, "haulage")
    yield made
    journal.close()


def test_an_entry_is_a_frame_in_the_journal_with_who_made_it(entered):
    first = entered.enter(FLUSH | {"at": "2026-01-08T16:30"})
    second = entered.enter(SURVEY)
    third = entered.enter(CORRECT)
    rows = entered.samples()
    assert [r["ref"] for r in rows] == [first, second, third]
    assert [r["device"] for r in rows] == ["office-1", "office-1", "office-2"]
    assert [r["seq"] for r in rows] == [1, 2, 1]
    assert [r["person"] for r in rows] == ["李"] * 3
    assert (rows[0]["event"], rows[0]["network"], rows[0]["volume_m3"]) == ("flush", "net-1", 12.5)
    assert rows[0]["t"] == NOW_MS - 13_000 - 30 * 60_000  # local time of the site: 16:30 of 17:00:13
    assert rows[1]["stock_t"] == 0
    assert (rows[2]["ticket"], rows[2]["step"], rows[2]["mass_kg"]) == ("T-7", "gross", 47_300)


@pytest.mark.parametrize("names", [("office-1", "office-2"), ("office-2", "office-1")])
def test_of_two_offices_that_one_takes_it_whose_stream_looks_for_it(tmp_path, names):
    plain = make_site(2)
    heat, road = names
    more = {
        heat: Device(heat, "office", "donghe", "donghe"),
        road: Device(road, "office", "donghe", "haulage"),
        "bridge-1": Device("bridge-1", "weighbridge", "donghe", "haulage"),
    }
    site = replace(plain, devices={**plain.devices, **more})
    journal = SqliteJournal(tmp_path / "journal.sqlite3", lambda: NOW_MS)
    made = Entries(site, journal, Ingest(journal, site, None, lambda: NOW_MS), lambda: NOW_MS, ClockMode.WALL)
    taken = [made.enter(asked) for asked in (FLUSH, SURVEY, CORRECT)]
    assert [r["ref"] for r in samples(journal, "donghe")] == taken[:2]
    assert [r["ref"] for r in samples(journal, "haulage")] == taken[2:]
    journal.close()


def test_a_ticket_is_corrected_by_another_units_office_where_only_that_hears_the_bridges(tmp_path):
    plain = make_site(2)
    more = {
        "desk": Device("desk", "office", "donghe", "donghe"),
        "coal": Device("coal", "office", "trade", "haulage"),
        "bridge-1": Device("bridge-1", "weighbridge", "donghe", "haulage"),
    }
    units = {**plain.units, "trade": replace(plain.units["donghe"], id="trade")}
    site = replace(plain, units=units, devices={**plain.devices, **more})
    journal = SqliteJournal(tmp_path / "journal.sqlite3", lambda: NOW_MS)
    made = Entries(site, journal, Ingest(journal, site, None, lambda: NOW_MS), lambda: NOW_MS, ClockMode.WALL)
    made.enter(CORRECT)
    made.enter(FLUSH)
    assert [r["device"] for r in samples(journal, "haulage")] == ["coal"]
    assert [r["device"] for r in samples(journal, "donghe")] == ["desk"]
    journal.close()


@pytest.mark.parametrize("asked", [FLUSH, SURVEY])
def test_an_office_of_a_stream_where_nobody_looks_for_it_is_refused(tmp_path, asked):
    plain = make_site(2)
    road = {"desk": Device("desk", "office", "donghe", "haulage")}
    road["bridge-1"] = Device("bridge-1", "weighbridge", "donghe", "haulage")
    site = replace(plain, devices={**plain.devices, **road})
    journal = SqliteJournal(tmp_path / "journal.sqlite3", lambda: NOW_MS)
    made = Entries(site, journal, Ingest(journal, site, None, lambda: NOW_MS), lambda: NOW_MS, ClockMode.WALL)
    with pytest.raises(
        ActionRefusedError, match=r"expected an office in stream donghe.*got desk \(haulage\)"
    ):
        made.enter(asked)
    made.enter(CORRECT)
    assert len(samples(journal, "haulage")) == 1
    journal.close()


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({}, "who: expected the name of a person"),
        (FLUSH | {"event": "explode"}, "event: expected one of flush"),
        (FLUSH | {"who": "  "}, "who: expected the name of a person"),
        (FLUSH | {"network": "net-9"}, "network: expected one of net-1, got 'net-9'"),
        (FLUSH | {"volume_m3": "-1"}, "volume_m3: expected more than 0 m³, got '-1'"),
        (FLUSH | {"volume_m3": "NaN"}, "volume_m3: expected more than 0"),
        (FLUSH | {"volume_m3": True}, "volume_m3: expected more than 0"),
        (FLUSH | {"volume_m3": "1e300"}, "volume_m3: expected at most 100,000 m³, got '1e300'"),
        (SURVEY | {"stock_t": "1e9"}, "stock_t: expected at most 10,000,000 t"),
        (CORRECT | {"mass_kg": "4632000000"}, "mass_kg: expected at most 1,000,000 kg"),
        (FLUSH | {"at": "2026-01-08T23:00"}, "at: expected a time that has come"),
        (FLUSH | {"at": "yesterday"}, "at: expected a time such as"),
        (FLUSH | {"note": "x" * 501}, "note: expected at most 500 characters, got 501"),
        (SURVEY | {"unit": "nowhere"}, "unit: expected one of donghe, got 'nowhere'"),
        (CORRECT | {"mass_kg": ""}, "expected at least one that holds instead"),
        (CORRECT | {"step": "net"}, "step: expected one of tare, gross"),
        (CORRECT | {"note": ""}, "note: expected the reason"),
    ],
)
def test_what_cannot_be_entered_is_refused_with_what_was_expected(entered, asked, told):
    with pytest.raises(ActionRefusedError) as refused:
        entered.enter(asked)
    assert told in str(refused.value)
    assert entered.samples() == []


def test_without_an_office_in_the_registry_nothing_can_be_entered(tmp_path):
    journal = SqliteJournal(tmp_path / "journal.sqlite3", lambda: NOW_MS)
    site = make_site(2)
    made = Entries(site, journal, Ingest(journal, site, None, lambda: NOW_MS), lambda: NOW_MS, ClockMode.WALL)
    with pytest.raises(ActionRefusedError, match="class office in the registry, got 'donghe'"):
        made.enter(FLUSH)
    journal.close()
