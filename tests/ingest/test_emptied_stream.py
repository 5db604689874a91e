"""A stream whose devices are all moved away hears of it, so that what it knows of them goes with them."""

from itertools import chain

from ingest.broker import EmbeddedBroker
from ingest.endpoint import Endpoint
from ingest.service import Ingest
from journal.kafka import KafkaJournal
from journal.protocol import Append
from journal.sqlite import SqliteJournal
from models.frame import Frame, Record
from models.site import Site
from models.site_files import parse_site
from streams.core.pipeline import Pipeline
from streams.runtime.faust_partition import PartitionRun, Pipelines
from tests.support.mock_kafka import MockKafka, kafka
from tests.support.payloads import NOW, decode, site, telemetry
from tests.support.waiting import until

__all__ = ["kafka"]  # fixtures

MOVED = parse_site({
    **site().texts, "devices.csv": site().texts["devices.csv"].replace(",u1,,", ",u1,north,"),
})[0]  # fmt: skip


def announce(journal: SqliteJournal, of: Site, port: int) -> None:
    """Have an ingest of a site come up and go."""
    ingest = Ingest(journal, of, Endpoint("127.0.0.1", port), lambda: NOW)
    ingest.start()
    until(lambda: ingest.ready and ingest.status.state == "ok", what=str(ingest.status))
    ingest.stop()


def test_a_stream_whose_devices_all_move_tells_the_other_what_it_knows(tmp_path):
    journal = SqliteJournal(tmp_path / "journal.sqlite3", lambda: NOW)
    with EmbeddedBroker() as broker:
        announce(journal, site(), broker.port)
        placed = decode([telemetry("sub-1", n) for n in (1, 2, 3)]).placed
        journal.append([Append(p.stream, p.frame.encode(), p.timestamp_ms) for p in placed])
        announce(journal, MOVED, broker.port)
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


class Workers:
    """What workers do with a topic's partitions, one after the other."""

    def __init__(self, kafka: MockKafka) -> None:
        self.rows: dict[str, dict[str, object]] = {}
        self.stepped: dict[int, int] = {}
        self._kafka, self._journal = kafka, KafkaJournal(kafka.bootstrap)
        pipelines = Pipelines(Pipeline, Pipeline.restore)
        self._runs = [PartitionRun.load(p, 1, {}, 0, pipelines) for p in range(kafka.partitions)]

    def work(self) -> None:
        """Step what there is, and what comes of it, until nothing more does."""
        while news := [k for k in self._kafka.read("frames") if k.offset > self._runs[k.partition].offset]:
            for kept in news:
                self._runs[kept.partition].step(kept.key, kept.offset, kept.timestamp_ms, kept.value)
            outputs = list(chain.from_iterable(run.take_outputs() for run in self._runs))
            for told in outputs:
                for table in told.rows.get("ledger", ()):
                    self.rows |= {row["key"]: row for row in table.to_pylist()}
            self.append([forward for told in outputs for forward in told.forwards])

    def append(self, frames: list[tuple[str, bytes]]) -> None:
        self._journal.append([Append(stream, frame, 1) for stream, frame in frames])

    def close(self) -> None:
        self._journal.close()


def test_so_it_does_where_workers_alone_know_which_streams_there_were(kafka):
    workers = Workers(kafka)
    for number, of in ((3, site()), (4, MOVED)):
        journal = KafkaJournal(kafka.bootstrap)
        ingest = Ingest(journal, of, None, lambda: NOW)
        ingest.submit([telemetry("sub-1", n) for n in range(number, number + 2)])
        journal.close()
        workers.work()
    workers.append([("north", Frame.heartbeat().encode())])
    workers.work()
    workers.close()
    row = workers.rows["sub-1"]
    assert row["stream"] == "north"
    assert [row[c] for c in ("sent", "stored", "unaccounted", "duplicate")] == [5, 3, 2, 1]
