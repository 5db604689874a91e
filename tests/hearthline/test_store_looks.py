"""A store that is away holds nobody up: what was seen last is said, and that it does not answer."""

from __future__ import annotations

import threading
import time

import pyarrow as pa

from hearthline.store_looks import StoreLooks
from store.protocol import StoreUnavailableError
from tests.support.waiting import until


class Slow:
    """A store that answers when told to, or says that it is away."""

    def __init__(self):
        self.go, self.away = threading.Event(), False

    def select(self, _query):
        self.go.wait(60)
        if self.away:
            raise StoreUnavailableError("not available: refused")
        return pa.table({name: pa.array([], pa.string()) for name in ("part", "process")})

    def counts(self):
        return {"reading": 7}


def test_a_look_is_not_waited_for(monkeypatch):
    monkeypatch.setattr("hearthline.store_looks._ASK_S", 0.1)
    monkeypatch.setattr("hearthline.store_looks.ledger_totals", lambda _store: {"sent": 3})
    store = Slow()
    looks = StoreLooks(store, "me")
    began = time.monotonic()
    said = looks.status()
    assert time.monotonic() - began < 20, "the store would have taken a minute"
    assert (said["ledger"], said["rows"]) == ({}, {})
    assert [(c["name"], c["state"]) for c in said["components"]] == [("store", "degraded")]
    assert said["components"][0]["detail"] == "the store does not answer"

    store.go.set()
    said = until(lambda: (s := looks.status())["rows"] and s, "seen")
    assert said == {"ledger": {"sent": 3}, "rows": {"reading": 7}, "components": []}

    store.away = True
    said = until(lambda: (s := looks.status())["components"] and s, "away")
    assert said["components"][0]["detail"] == "not available: refused"
    assert said["rows"] == {"reading": 7}, "what was seen last"
