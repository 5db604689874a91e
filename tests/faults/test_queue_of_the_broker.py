"""What Mosquitto keeps for a server that is away, and what of it is left when Mosquitto starts again."""

from __future__ import annotations

import time

import pytest

from tests.support.mosquitto import Mosquitto
from tests.support.payloads import TEXTS
from tests.support.system import Publisher, Server, write_site
from tests.support.waiting import until


@pytest.mark.parametrize(("persistence", "lost"), [(True, 0), (False, 4)])
def test_of_devices_that_forget_only_what_it_wrote_is_left_and_the_ledger_says_so(
    tmp_path, persistence, lost
):
    """They published and had the broker's word; a collector of ours keeps all until it has the server's."""
    site, began_ms = write_site(tmp_path / "site", TEXTS), round(time.time() * 1000) - 60_000

    def publish(*numbers):
        with Publisher(broker.url) as device:
            for seq in numbers:
                sent = [{"t": began_ms + seq, "supply_c": 90.0 + seq}]
                device("hearthline/v1/r1/u1/sub-1/telemetry", {"boot": 1, "seq": seq, "samples": sent})

    with Mosquitto(persistence=persistence) as broker:
        with Server(tmp_path / "one", site, broker.url) as server:
            server.ready_for_messages()
            publish(1)
            until(lambda: server.status()["ledger"].get("stored") == 1, "the first is stored")
            server.stop()
        publish(2, 3, 4, 5)
        broker.stop()
        broker.start()
        with Server(tmp_path / "one", site, broker.url) as server:
            server.ready_for_messages()
            publish(6)
            wanted = {"sent": 6, "stored": 6 - lost, "unaccounted": lost}
            until(
                lambda: wanted.items() <= server.status()["ledger"].items(),
                lambda: server.status()["ledger"],
                seconds=60,
            )
            assert len(server.rows("reading")) == 6 - lost
            server.stop()
