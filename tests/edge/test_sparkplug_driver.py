"""Sparkplug B: the state of an edge node, message by message, and one at a real broker."""

from __future__ import annotations

import time
from contextlib import closing

import pytest

from edge.config import ConfigError, EdgeConfig
from edge.driver import DriverError, RecordError
from edge.drivers import make
from edge.drivers.sparkplug import Options
from edge.simulators import simulate
from edge.simulators.sparkplug import EdgeNode, metric, payload
from edge.sparkplug import MetricPoint, Node, decode, rebirth_request
from tests.support.driving import device, driving
from tests.support.mosquitto import Mosquitto
from tests.support.waiting import PATIENCE_S

T = 1_767_225_600_000
INT16, DOUBLE, BOOLEAN, STRING = 2, 10, 11, 12
POINTS = {
    "supply_c": MetricPoint(metric="Supply/T"),
    "energy_gj": MetricPoint(metric="Energy", unit="MWh", scale=0.1),
}


def born(device="meter"):
    node = Node(device, POINTS)
    assert not node.take("NBIRTH", None, payload(T, 0, metric("bdSeq", None, T, 8, 7))).faults
    metrics = [
        metric("Supply/T", 1, T, DOUBLE, 92.5),
        metric("Energy", 2, T, INT16, 50),
        metric("Other", 3, T, DOUBLE, 1.0),
    ]
    taken = node.take("DBIRTH", device, payload(T, 1, *metrics))
    assert not taken.faults
    assert [(r.t_ms, r.values) for r in taken.readings] == [(T, {"supply_c": 92.5, "energy_gj": 18.0})]
    return node


def read(node, *metrics, seq=2, kind="DDATA", device="meter"):
    taken = node.take(kind, device, payload(T + 1000, seq, *metrics))
    return (
        [(r.t_ms, dict(r.values)) for r in taken.readings],
        [kind for kind, _ in taken.faults],
        taken.rebirth,
    )


def test_data_by_alias_by_name_and_of_nobody():
    node = born()
    by_alias = metric(None, 1, T + 1000, None, 93.0), metric(None, 3, T + 1000, None, 5.0)
    assert read(node, *by_alias) == ([(T + 1000, {"supply_c": 93.0})], [], False)
    assert read(node, metric("Supply/T", None, None, None, 94.0), seq=3)[0] == [
        (T + 1000, {"supply_c": 94.0})
    ]
    assert read(node, metric(None, 1, T, None, 1.0), seq=4, device="other") == ([], ["no birth"], True)


def test_a_signed_number_is_read_by_its_data_type():
    assert read(born(), metric(None, 2, T, None, -5))[0] == [(T, {"energy_gj": pytest.approx(-1.8)})]


def test_historical_metrics_are_samples_of_their_own_time():
    metrics = [metric(None, 1, T - 60_000 * i, None, 90.0 + i, historical=True) for i in (2, 1)]
    got, faults, _ = read(born(), *metrics, metric(None, 1, T, None, 90.0))
    assert got == [
        (T - 120_000, {"supply_c": 92.0}),
        (T - 60_000, {"supply_c": 91.0}),
        (T, {"supply_c": 90.0}),
    ]
    assert not faults


def test_what_is_null_is_absent_and_what_is_no_number_is_named():
    null, text = metric(None, 1, T, None, None), metric("Supply/T", None, T, STRING, 1.0)
    assert read(born(), null) == ([], [], False)
    assert read(born(), text)[:2] == ([], ["supply_c implausible"])
    assert read(born(), metric(None, 1, T, None, float("nan")), metric(None, 2, T, None, 10))[:2] == (
        [(T, {"energy_gj": 3.6})],
        ["supply_c implausible"],
    )


def test_a_time_that_cannot_be_is_named():
    assert read(born(), metric(None, 1, 2**63, None, 1.0))[:2] == ([], ["supply_c implausible"])
    bare = Node("meter", POINTS).take(
        "DDATA", "meter", b"\x12" + metric("Supply/T", None, None, DOUBLE, 1.0)[1:] + b"\x18\x05"
    )
    assert [kind for kind, _ in bare.faults] == ["no birth", "supply_c implausible"]


def test_data_before_a_birth_asks_for_one():
    assert read(Node("meter", POINTS), metric(None, 1, T, None, 1.0)) == ([], ["no birth"], True)


def test_after_a_gap_only_what_is_named_in_full_is_taken_until_the_next_birth():
    node = born()
    metrics = metric(None, 1, T, None, 1.0), metric("Supply/T", None, T, DOUBLE, 95.0)
    assert read(node, *metrics, seq=4) == ([(T, {"supply_c": 95.0})], ["sequence"], True)
    assert read(node, *metrics, seq=5) == ([(T, {"supply_c": 95.0})], ["no birth"], True)


def test_sequence_numbers_go_round():
    node = born()
    for seq in [*range(2, 256), 0, 1]:
        assert read(node, metric(None, 1, T, None, 1.0), seq=seq)[1] == []


def test_an_alias_of_no_birth_asks_for_one_and_its_neighbours_stand():
    metrics = metric(None, 99, T, None, 1.0), metric(None, 1, T, None, 95.0)
    assert read(born(), *metrics) == ([(T, {"supply_c": 95.0})], ["alias"], True)


def test_an_alias_may_mean_another_metric_after_the_next_birth():
    node = born()
    node.take("NBIRTH", None, payload(T, 0))
    node.take(
        "DBIRTH",
        "meter",
        payload(T, 1, metric("Other", 1, T, DOUBLE, 5.0), metric("Supply/T", 3, T, DOUBLE, 6.0)),
    )
    assert read(node, metric(None, 1, T, None, 1.0), metric(None, 3, T, None, 7.0))[0] == [
        (T, {"supply_c": 7.0})
    ]


def test_deaths():
    node = born()
    stale = payload(T, None, metric("bdSeq", None, T, 8, 6))
    assert node.take("NDEATH", None, stale) == ([], [], False), "of a session before this one"
    assert read(node, metric(None, 1, T, None, 93.0))[1] == []
    assert node.take("DDEATH", "meter", payload(T, 3)).faults[0][0] == "death"
    assert read(node, metric(None, 1, T, None, 93.0), seq=4) == ([], ["no birth"], True)
    dead = payload(T, None, metric("bdSeq", None, T, 8, 7))
    assert node.take("NDEATH", None, dead).faults[0][0] == "death"
    assert read(node, metric(None, 1, T, None, 93.0), seq=5) == ([], ["no birth"], True)


def test_a_damaged_payload_is_named_and_asks_for_a_birth():
    node = born()
    taken = node.take("DDATA", "meter", payload(T, 2, metric(None, 1, T, None, 93.0))[:-7])
    assert (taken.readings, taken.faults[0][0], taken.rebirth) == ([], "record", True)
    assert "DDATA: byte" in taken.faults[0][1]


@pytest.mark.parametrize(
    ("data", "offset", "expected"),
    [
        (b"", 0, "expected a sequence number"),
        (b"\x18\x80\x02", 3, "expected a sequence number of 0 to 255 at the end, got 256"),
        (b"\x08\x01\x12\x05\x0a\x09ab", 8, "got the end"),
        (b"\x08\x01\x12\x04\x0a\x09ab\x18\x01", 8, "expected 7 more bytes of the field at 4"),
        (b"\x0f\x01", 0, "expected a field, got wire type 7"),
        (b"\x08\xff\xff", 3, "expected a number to go on"),
        (b"\x12\x04\x0a\x02\xff\xfe\x18\x01", 4, "expected a name in UTF-8"),
    ],
)
def test_the_byte_of_a_damaged_payload_is_named(data, offset, expected):
    with pytest.raises(RecordError, match=expected) as caught:
        decode(data)
    assert caught.value.offset == offset


def test_the_request_for_births_is_a_payload():
    (asked,) = decode(rebirth_request(T), death=True).metrics
    assert (asked.name, asked.datatype, asked.value, asked.t_ms) == ("Node Control/Rebirth", BOOLEAN, 1.0, T)


OPTIONS = {
    "group": "heat", "node": "edge-1", "device": "meter", "rebirth_s": 1, "timeout_s": 20,
    "metrics": {"supply_c": {"metric": "Supply/T"}, "energy_gj": {"metric": "Energy", "unit": "MWh"}},
}  # fmt: skip
SHOW = {None: {}, "meter": {"Supply/T": lambda _: 92.5, "Energy": lambda _: 10.0}}
SHOWN = {"supply_c": 92.5, "energy_gj": 36.0}


def until(driver, found):
    got, deadline = [], time.monotonic() + PATIENCE_S
    while not found(got) and time.monotonic() < deadline:
        got += driver.read(int(time.time() * 1000))
        time.sleep(0.02)
    assert found(got), (got, driver.said)
    return got


def test_a_node_at_a_real_broker_is_asked_for_its_births_and_followed():
    with Mosquitto() as broker:
        url = f"mqtt://127.0.0.1:{broker.port}"
        with closing(EdgeNode("127.0.0.1", broker.port, "heat", "edge-1", SHOW)) as node:
            deadline = time.monotonic() + PATIENCE_S
            while not node.births and time.monotonic() < deadline:
                time.sleep(0.02)
            with driving("sparkplug", {**OPTIONS, "broker": url}) as driver:
                got = until(driver, bool)  # born before the driver came: it asked
                assert got[-1].values == SHOWN
                node.report()
                assert until(driver, bool)[-1].values == SHOWN
                births = node.births
                node.seq += 3  # as if messages were lost
                node.report()
                until(driver, lambda _: node.births > births and driver.complaints.counts["d1 sequence"])
                assert driver.complaints.counts["d1 sequence"] == 1
                node.report()
                assert until(driver, bool)[-1].values == SHOWN


def test_without_a_broker_it_is_an_error_and_the_next_read_does_not_wait():
    given = {**OPTIONS, "broker": "mqtt://127.0.0.1:1", "timeout_s": 0.2}
    with driving("sparkplug", given) as driver:
        for _ in range(2):
            with pytest.raises(DriverError, match=r"mqtt://127.0.0.1:1: expected a connection"):
                driver.read(T)


def test_a_plain_broker_of_a_closed_network_has_to_be_said():
    given = {**OPTIONS, "broker": "mqtt://u@192.0.2.1:1884", "private_network": True}
    assert Options.model_validate(given).mqtt.host == "192.0.2.1"
    assert Options.model_validate(given).mqtt.port == 1884


def test_a_simulated_node_with_a_broker_of_its_own():
    config = device("sparkplug", {**OPTIONS, "broker": "mqtt://broker.example:1883"})
    moved, started = simulate(EdgeConfig(device=[config]))
    try:
        with closing(make(moved.device[0])) as driver:
            driver.said = []
            values = until(driver, bool)[-1].values
        assert values.keys() == SHOWN.keys()
        assert 85 < values["supply_c"] < 99
    finally:
        for peer in started:
            peer.close()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"broker": "http://x"}, "expected mqtt://HOST"),
        ({"broker": "http://x", "private_network": True}, "expected mqtt://HOST"),
        ({"broker": "mqtt://192.0.2.1"}, "expected mqtts:// for a broker that is not on loopback"),
        ({"node": "a/b"}, "node: .*pattern"),
        ({"metrics": {}}, "metrics: .*at least 1"),
        ({"metrics": {"supply_c": {"metric": "a", "unit": "bar"}}}, "expected one of .*K.* for supply_c"),
        ({"password_file": "nowhere", "username": "u"}, "password_file: expected a readable file"),
    ],
)
def test_wrong_options_are_named(change, expected):
    with pytest.raises(ConfigError, match=expected):
        make(device("sparkplug", {**OPTIONS, "broker": "mqtt://127.0.0.1:1", **change}))
