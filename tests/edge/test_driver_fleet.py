"""Devices of every kind in one collector: what is wrong with one is its own affair."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack, closing

from edge.config import EdgeConfig, OutboxConfig
from edge.run import run
from edge.simulators import cjt188 as cjt188_sim
from edge.simulators import mbus as mbus_sim
from edge.simulators import modbus as modbus_sim
from edge.simulators.peer import Peer
from tests.support.driving import device
from tests.support.edge_server import FakeServer
from tests.support.mosquitto import Mosquitto
from tests.support.waiting import PATIENCE_S, until

SHOWN = {
    "energy_gj": 3.6, "volume_m3": 31.0, "heat_kw": 59.4, "flow_m3_h": 1.5, "supply_c": 90.0, "return_c": 50.0,
    "operating_h": 7.0,
}  # fmt: skip
CJ = {"meter": "00000040314132"}


def peers(stack):
    words = lambda function: {0: b"\x03\x84"} if function == 3 else {}  # noqa: E731
    made = {
        "sound": Peer(lambda: modbus_sim.Device({1: words}, rtu=False)),
        "silent": Peer(lambda: modbus_sim.Device({1: words}, rtu=False)),
        "damaged": Peer(lambda: cjt188_sim.Meter([CJ], lambda: SHOWN)),
        "another": Peer(lambda: mbus_sim.Meter([(7, "12345678")], lambda: SHOWN), serial=True),
        "meter": Peer(lambda: mbus_sim.Meter([(7, "12345678")], lambda: SHOWN), serial=True),
    }
    made["silent"].mangle = lambda _: b""
    made["damaged"].mangle = lambda data: data[:20] + bytes([data[20] ^ 1]) + data[21:]
    foreign = mbus_sim.telegram(8, "87654321", SHOWN)
    made["another"].mangle = lambda data: data if len(data) == 1 else foreign
    return {name: stack.enter_context(closing(peer)).at for name, peer in made.items()}


def test_a_silent_a_damaged_and_a_wrong_device_leave_their_neighbours_whole(tmp_path):
    one = {"supply_c": {"register": 0, "scale": 0.1}}
    with Mosquitto() as broker, ExitStack() as stack:
        at = peers(stack)
        devices = [
            device("modbus", {**at["sound"], "registers": one}, name="sound", interval_s=0.1),
            device(
                "modbus", {**at["silent"], "registers": one, "timeout_s": 1}, name="silent", interval_s=0.1
            ),
            device("cjt188", {**at["damaged"], **CJ}, name="damaged", interval_s=0.1),
            device("mbus", {**at["another"], "meter": 7}, name="another", interval_s=0.1),
            device("mbus", {**at["meter"], "meter": 7}, name="meter", interval_s=0.1),
        ]
        config = EdgeConfig(
            mqtt={"url": f"mqtt://127.0.0.1:{broker.port}"}, device=devices, outbox=OutboxConfig(dir=tmp_path)
        )
        server, stop, said, result = FakeServer(broker.port), threading.Event(), [], {}
        thread = threading.Thread(target=lambda: result.update(run(config, stop=stop, say=said.append)))
        thread.start()
        try:
            # Before the silent one has timed out once, the sound ones have been read many times.
            until(lambda: len(server.samples("sound")) > 10 and len(server.samples("meter")) > 10)
            until(lambda: any("damaged: byte 60: expected checksum" in line for line in said))
            until(
                lambda: any("another: byte 5: expected meter 7, got an answer of meter 8" in s for s in said),
            )
            until(lambda: any("silent: " in s and "got none within 1 s" in s for s in said))
        finally:
            stop.set()
            thread.join(PATIENCE_S)
            server.close()
        assert not thread.is_alive()
        assert {json.dumps(s["supply_c"]) for s in server.samples("sound")} == {"90.0"}
        assert {s["supply_c"] for s in server.samples("meter")} == {90.0}
        for name in ("silent", "damaged", "another"):
            assert server.samples(name) == []
            assert result["complaints"][f"driver {name}"] >= 1
