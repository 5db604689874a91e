"""A stream whose devices are all moved away hears of it, so that what it knows of them goes with them."""

from ingest.broker import EmbeddedBroker
from ingest.endpoint import Endpoint
from ingest.service import Ingest
from journal.protocol import Append
from journal.sqlite import SqliteJournal
from models.frame import Record
from models.site import Site
from models.site_files import parse_site
from streams.core.pipeline import Pipeline
from tests.support.payloads import NOW, decode, site, telemetry
from tests.support.waiting import until


def announce(journal: SqliteJournal, of: Site, port: int) -> None:
    """Have an ingest of a site come up and go."""
    ingest = Ingest(journal, of, Endpoint("127.0.0.1", port), lambda: NOW)
    ingest.start()
    until(lambda: ingest.ready and ingest.status.state == "ok", what=str(ingest.status))
    ingest.stop()


def test_a_stream_whose_devices_all_move_tells_the_other_what_it_knows(tmp_path):
    journal = SqliteJournal(tmp_path / "journal.sqlite3", lambda: NOW)
    devices = site().texts["devices.csv"].replace(",u1,,", ",u1,north,")
    with EmbeddedBroker() as broker:
        announce(journal, site(), broker.port)
        placed = decode([telemetry("sub-1", n) for n in (1, 2, 3)]).placed
        journal.append([Append(p.stream, p.frame.encode(), p.timestamp_ms) for p in placed])
        announce(journal, parse_site({**site().texts, "devices.csv": devices})[0], broker.port)
    old, new = Pipeline("u1"), Pipeline("north")
    words = [word for record in journal.read("u1", -1) for word in old.step(record).forwards]
    for record in journal.read("north", -1):
        new.step(record)
    for stream, frame in words:
        assert stream == "north"
        new.step(Record(stream, new.offset + 1, NOW, frame))
    journal.close()
    rows = [row for table in new.report().rows.get("ledger", ()) for row in table.to_pylist()]
    counts = {row["key"]: (row["sent"], row["stored"], row["unaccounted"]) for row in rows}
    assert counts["sub-1"] == (3, 3, 0)
