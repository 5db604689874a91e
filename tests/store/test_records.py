"""Records on SQLite and on a real PostgreSQL: the same rows, transactions, upgrades and refusals on both.

The desk and the post run on both too: tests/alerts/test_desk.py and test_post.py.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from store import records
from store.database import database_url
from store.records import Batch, Records, RecordsError
from tests.support.postgres import Postgres
from tests.support.waiting import PATIENCE_S, until

ROOT = Path(__file__).parents[2]


@pytest.fixture
def kept(records_at):
    with Records(records_at) as made:
        yield made


def alarm(name="a", phase="raised", since_ms=0, **body):
    return {
        "id": name, "subject": name, "code": "c", "phase": phase, "since_ms": since_ms,
        "body": {"id": name, **body},
    }  # fmt: skip


def event(name="a", n=0, at_ms=0, **body):
    return {"alarm_id": name, "n": n, "at_ms": at_ms, "body": {"n": n, **body}}


def letter(name, alarm_id="a", delivery="", due_ms=0):
    return {
        "id": name, "recipient": "li", "alarm_id": alarm_id, "due_ms": due_ms, "delivery": delivery,
        "body": {"note": name},
    }  # fmt: skip


def delivery(name="d", state="waiting", made_ms=0, next_ms=0, **more):
    return {
        "id": name, "recipient": "li", "channel": "mail", "state": state, "made_ms": made_ms,
        "next_ms": next_ms, "attempts": 0, "error": "", "ended_ms": None, "body": {}, **more,
    }  # fmt: skip


def test_what_was_received_is_taken_in_order(kept):
    kept.receive([{"n": n, "value": 1e308, "text": '煤 "\u2028 \x00'} for n in range(3)])
    kept.receive([])
    kept.receive([{"n": 3}])
    numbers, bodies = zip(*kept.inbox(), strict=True)
    assert [b["n"] for b in bodies] == [0, 1, 2, 3]
    assert bodies[0]["text"] == '煤 "\u2028 \x00'
    assert [b["n"] for _, b in kept.inbox(limit=2)] == [0, 1]
    kept.save(Batch(taken=numbers[1]))
    assert [b["n"] for _, b in kept.inbox()] == [2, 3]


def test_an_alarm_is_written_over_and_what_happened_to_it_is_not(kept):
    kept.save(Batch([alarm(since_ms=2**40)], [event(n=0, was=1), event(n=1)], keys={"k": "a", "l": "a"}))
    twice = [alarm(phase="cleared", half=True), alarm(phase="closed", since_ms=2**41)]
    kept.save(Batch(twice, [event(n=0, was=2), event(n=2, at_ms=9)], keys={"l": "b"}))
    (row,) = kept.alarms(0)
    assert row == {"id": "a", "events": [{"n": 0, "was": 1}, {"n": 1}, {"n": 2}]}
    assert kept.alarms(2**41 + 1) == []
    assert kept.alarm_of_key("k") == row
    assert kept.alarm_of_key("l") is None
    assert kept.newest_ms() == 9


def test_notes_are_those_asked_for_in_order_and_the_newest_of_too_many(kept):
    told = [event(n=n, at_ms=n, note=note) for n, note in enumerate(("raised", "commented", "cleared"))]
    kept.save(Batch([alarm(unit="u1", region="r1")], told))
    of_alarm = {"alarm_id": "a", "subject": "a", "code": "c", "unit": "u1", "region": "r1"}
    kinds = {"raised", "cleared"}
    assert kept.notes(0, 3, kinds) == [
        {**of_alarm, "at_ms": 0, "note": "raised"}, {**of_alarm, "at_ms": 2, "note": "cleared"},
    ]  # fmt: skip
    assert [x["at_ms"] for x in kept.notes(0, 3, kinds, most=1)] == [2]
    assert kept.notes(1, 2, kinds) == []


def test_more_alarms_than_one_question_takes(kept):
    names = [f"a{n:04}" for n in range(1_200)]
    kept.save(Batch([alarm(n) for n in names], [event(n, k) for n in names for k in range(2)]))
    assert sorted((a["id"], len(a["events"])) for a in kept.alarms(0)) == [(n, 2) for n in names]
    kept.save(Batch(letters=[letter(n, n) for n in names]))
    kept.save(Batch(withdrawn=names[:1_100]))
    assert [row["id"] for row in kept.letters()] == names[1_100:]


def test_progress_and_maintenance(kept):
    assert kept.progress("actions") is None
    kept.save(Batch(progress={"actions": 2**40}, maintenance={"m": {"id": "m"}, "n": {"id": "n"}}))
    kept.save(Batch(progress={"actions": 2**41}, maintenance={"m": None, "n": {"id": "other"}}))
    assert kept.progress("actions") == 2**41
    assert kept.maintenance() == [{"id": "other"}]


def test_letters_and_deliveries(kept):
    kept.save(Batch(letters=[letter("x", due_ms=5), letter("y", due_ms=1), letter("z", due_ms=5)]))
    kept.save(Batch(letters=[letter("y", due_ms=99)]))
    assert [row["id"] for row in kept.letters()] == ["y", "x", "z"]
    kept.send([delivery("d", made_ms=10), delivery("e", made_ms=20, next_ms=-1)], {"x": "d", "y": "d"})
    kept.send([delivery("d", state="sent")], {})
    assert [row["id"] for row in kept.letters()] == ["z"]
    assert [row["id"] for row in kept.deliveries("waiting", "sent", channel="mail")] == ["e", "d"]
    assert kept.deliveries("waiting", channel="hook") == []
    assert (kept.sent_to("li", 0), kept.sent_to("li", 20), kept.sent_to("wang", 0)) == (2, 1, 0)
    kept.save(Batch(withdrawn=["a"]))
    assert kept.letters() == []
    kept.update("d", state="sent", ended_ms=50, attempts=3)
    kept.expire(51)
    assert [row["id"] for row in kept.deliveries("waiting", "sent")] == ["e"]


def test_text_that_a_database_cannot_say_does_not_hold_up_the_post(kept):
    """A channel's answer may be anything; PostgreSQL has no NUL in a text."""
    kept.send([delivery("d")], {})
    kept.update("d", error="refused: \x00\ud800 煤")
    assert kept.deliveries("waiting")[0]["error"] == "refused: \ufffd? 煤"


def test_a_batch_is_written_whole_or_not_at_all(kept):
    broken = letter("x")
    del broken["body"]
    with pytest.raises(RecordsError, match="cannot be written now"):
        kept.save(Batch([alarm()], [event()], progress={"p": 1}, letters=[broken]))
    assert (kept.alarms(0), kept.newest_ms(), kept.progress("p")) == ([], 0, None)


def test_the_newest_step_is_the_one_that_is_named(kept):
    assert kept._version() == records._NEWEST


def test_of_several_that_start_at_once_one_makes_the_tables(postgres):
    """All are at the same point when they are let go: none found tables, and each waits for its turn."""
    where, opened = postgres.database(), []
    again = "import sys; from store.records import Records; Records(sys.argv[1])"
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with postgres.connect(where.rpartition("/")[2]) as holder:
        holder.execute(f"SELECT pg_advisory_lock({records._UPGRADING})")
        threads = [threading.Thread(target=lambda: opened.append(Records(where))) for _ in range(2)]
        for thread in threads:
            thread.start()
        other = subprocess.Popen([sys.executable, "-c", again, where], cwd=ROOT)
        until(lambda: holder.execute(waiting).fetchone() == (2,))
    for thread in threads:
        thread.join(PATIENCE_S)
    for one in opened:
        one.close()
    assert (len(opened), other.wait(PATIENCE_S)) == (2, 0)


def test_one_alone_keeps_the_records_of_a_database(postgres):
    where = postgres.database()
    name = where.rpartition("/")[2]
    end = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory'"
    held = end.replace("count(pg_terminate_backend(pid))", "count(*)")
    others = (
        r"only one that keeps these records, got one on 127\.0\.0\.1, there since \d{4}-.* UTC: stop that one"
    )

    def freed(admin):
        until(lambda: admin.execute(held).fetchone() == (0,))  # who is ended lets go a moment later

    with Records(where, alone=True) as first:
        first.receive([{"n": 0}])
        with pytest.raises(RecordsError, match=others):
            Records(where, alone=True)
        with Records(where) as reader:  # who only reads is let in
            assert [b["n"] for _, b in reader.inbox()] == [0]
        with postgres.connect(name) as admin:
            assert admin.execute(end).fetchone() == (1,)
        first.receive([{"n": 1}])  # its session was ended, nobody else came, and it takes another
        with pytest.raises(RecordsError, match=others):
            Records(where, alone=True)
        with postgres.connect(name) as admin:
            admin.execute(end)
            freed(admin)
        with Records(where, alone=True) as second:
            with pytest.raises(RecordsError, match=others):
                first.receive([{"n": 99}])
            second.receive([{"n": 2}])
        first.receive([{"n": 3}])
        assert [b["n"] for _, b in first.inbox()] == [0, 1, 2, 3]
        first._sole.close()  # as after a session that did not answer: it must not wait with the lock in the pool
        with postgres.connect(name) as admin:
            freed(admin)
        with Records(where, alone=True):
            pass
    with Records(where, alone=True) as third:

        def interrupted():
            with third._write() as session:
                session.execute(sa.text("DELETE FROM inbox"))
                with postgres.connect(name) as admin:
                    admin.execute(end)  # the lock goes in the middle of a transaction: it goes with it
                    freed(admin)
                with Records(where, alone=True) as other:
                    other.receive([{"n": 4}])

        with pytest.raises(RecordsError, match="cannot be written now"):
            interrupted()
        assert [b["n"] for _, b in third.inbox()] == [0, 1, 2, 3, 4]
    postgres.drop(where)


def test_records_of_a_newer_program_are_refused_and_untouched(records_at):
    with Records(records_at) as made:
        made.save(Batch([alarm()]))
        with made._engine.begin() as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = 'r9999'"))
    with pytest.raises(RecordsError, match=r"up to r\d{4}, got r9999: a newer program made them"):
        Records(records_at)
    with sa.create_engine(database_url(records_at)).connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM alarm")).scalar() == 1


def test_a_server_that_was_away_is_used_again_and_kept_what_it_said_it_kept():
    """Killed as by a power cut, with its real syncing; nothing committed is lost, and no restart is needed."""
    # Its way of syncing all files after a crash is the one setting that is for the sake of the test's time.
    with Postgres({"recovery_init_sync_method": "syncfs"}) as server, Records(server.database()) as kept:
        for n in range(5):
            kept.receive([{"n": n}])
        server.kill()
        server.start()
        kept.receive([{"n": 5}])  # what waits in the pool is of the dead server
        server.kill()
        for attempt in (lambda: kept.receive([{"n": 99}]), kept.inbox):
            with pytest.raises(RecordsError, match=r"127\.0\.0\.1.*cannot be (written|read) now"):
                attempt()
        server.start()
        assert [b["n"] for _, b in kept.inbox()] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("user", "password", "database", "said"),
    [
        ("postgres", "a-wrong-one", "postgres", "password authentication failed"),
        ("nobody", "a-wrong-one", "postgres", "password authentication failed"),
        ("postgres", None, "missing", 'database "missing" does not exist'),
    ],
)
def test_who_is_not_let_in_is_told_so_without_the_password(postgres, user, password, database, said):
    secret = password or postgres.password
    url = postgres.url(database, user).replace(postgres.password, "")
    with pytest.raises(RecordsError, match=said) as caught:
        Records(url, secret)
    assert secret not in str(caught.value)
    assert postgres.password not in str(caught.value)


def test_a_user_without_rights_is_told_so(postgres):
    where = postgres.database()
    with postgres.connect() as connection:
        connection.execute("CREATE ROLE reader LOGIN PASSWORD 'reads-only'")
    try:
        with pytest.raises(
            RecordsError, match=r"expected records that this program may own: permission denied"
        ):
            Records(postgres.url(where.rpartition("/")[2], "reader", "reads-only"))
    finally:
        with postgres.connect() as connection:
            connection.execute("DROP ROLE reader")


def test_commits_wait_for_the_disk_and_statements_end(postgres):
    with Records(postgres.database()) as kept, kept._engine.connect() as connection:
        for name, value in (
            ("synchronous_commit", "on"),
            ("statement_timeout", "30s"),
            ("lock_timeout", "10s"),
        ):
            assert connection.execute(sa.text(f"SHOW {name}")).scalar() == value
