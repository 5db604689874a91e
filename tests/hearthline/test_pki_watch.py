"""`hearthline pki watch` behind a real Mosquitto, by a pipe."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from hearthline.audit import verify
from tests.support.door import Client, gate, make_pki, refused
from tests.support.payloads import topic
from tests.support.waiting import PATIENCE_S, until


def test_what_a_real_mosquitto_denies_is_kept_and_the_rest_is_not(tmp_path):
    pki = make_pki(tmp_path)
    (place := tmp_path / "broker").mkdir()
    os.mkfifo(place / "log")
    audit, said = tmp_path / "audit.jsonl", tmp_path / "said"
    reading = os.open(place / "log", os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reading, True)
    with (
        said.open("wb") as out,
        subprocess.Popen(
            [sys.executable, "-m", "hearthline", "pki", "watch", "--audit", str(audit)],
            stdin=reading,
            stdout=out,
        ) as watch,
    ):
        os.close(reading)
        with gate("mosquitto", place, pki) as opened:
            with Client(opened, "sub-1") as device:
                device.subscribe(topic("sub-1", "ack"), topic("sub-2", "command"), "#")
                device.publish(topic("sub-1"), b'{"boot":1}')
                device.publish(topic("sub-1", "birth"), b"{}", retain=True)
                for quote in ("", "'", "', ... (0 bytes))"):
                    device.publish(topic("sub-2") + quote)
            assert refused(opened, "gone")
            until(lambda: audit.exists() and len(audit.read_text().splitlines()) >= 3)
        assert watch.wait(PATIENCE_S) == 0
    entries = [json.loads(line) for line in audit.read_text().splitlines()]
    told = [(e["device"], e["what"], e["topic"]) for e in entries]
    assert told == [("sub-1", "publish", topic("sub-2") + quote) for quote in ("", "'", "', ... (0 bytes))")]
    assert verify(audit) == 3
    passed_on = said.read_text()
    assert "as sub-1" in passed_on
    assert "certificate verify failed" in passed_on, "what an operator has to know goes on"
    assert not [word for word in ("hearthline/", "QoS", "\t", "will message", "PUB") if word in passed_on]
