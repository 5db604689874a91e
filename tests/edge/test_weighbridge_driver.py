"""Weighings from the weights of an indicator, continuous and on demand."""

from __future__ import annotations

import random
import threading
import time
from contextlib import closing

import pytest

from edge.config import ConfigError
from edge.driver import DriverError, RecordError
from edge.drivers import make
from edge.drivers.weighbridge import Bridge, Options, Weight, decode, decode_sics
from edge.simulators.peer import Peer
from edge.simulators.weighbridge import Indicator, Shown, sics, toledo, traffic
from tests.support.driving import device, driving
from tests.support.waiting import PATIENCE_S

NOW = 1_767_225_600_000
BOTH = pytest.mark.parametrize("serial", [False, True], ids=["tcp", "serial"])


def options(**more):
    return Options.model_validate({"address": "/dev/x", **more})


def weighings(loads, **more):
    bridge = Bridge(options(**more))
    return [kg for load in loads if (kg := bridge.take(load)) is not None]


def steady(kg, times=5):
    return [Weight(kg, stable=True)] * times


EMPTY = [Weight(0.0, stable=True)]
ROLLING = [Weight(kg, stable=False) for kg in (3000.0, 9000.0, 17_000.0)]


@pytest.mark.parametrize(
    ("loads", "expected"),
    [
        ([*EMPTY, *ROLLING, *steady(17_240.0), *ROLLING, *EMPTY], [17_240.0]),
        ([*EMPTY, *steady(17_240.0, 50)], [17_240.0]),  # one truck, however long it stands
        ([*EMPTY, *steady(17_240.0), *EMPTY, *steady(45_100.0)], [17_240.0, 45_100.0]),
        (steady(17_240.0, 50), []),  # it stood there when the collector started: weighed before
        ([*EMPTY, *steady(17_240.0, 4), *ROLLING, *steady(17_240.0, 4)], []),  # never five in a row
        ([*EMPTY, *steady(900.0, 50)], []),  # a person, a forklift
        ([*EMPTY, *steady(17_240.0, 3), *steady(17_300.0)], [17_300.0]),  # it settles on the second
        ([*EMPTY, *steady(17_240.0, 4), Weight(17_240.0, True, in_range=False), *steady(17_240.0, 4)], []),
        ([*EMPTY, *[Weight(99_999.0, True, in_range=False)] * 20], []),
        ([Weight(0.0, True, in_range=False), *steady(17_240.0, 9)], []),  # out of range is not empty
    ],
)  # fmt: skip
def test_a_weighing_is_a_load_that_stood_still_on_a_bridge_that_was_empty(loads, expected):
    assert weighings(loads) == expected


@pytest.mark.parametrize(
    "shown", [Shown(17_240.0), Shown(-40.0), Shown(12_000.0, True), Shown(60_000.0, over=True)]
)
@pytest.mark.parametrize("unit", ["kg", "t", "lb"])
def test_records_of_both_formats(shown, unit):
    step_kg = {"kg": 0.5, "t": 5.0, "lb": 0.25}[unit]
    got = decode(toledo(shown, unit), options(unit=unit))
    assert got.mass_kg == pytest.approx(shown.kg, abs=step_kg)
    assert (got.stable, got.in_range) == (not shown.motion, not shown.over)
    assert decode(toledo(shown, unit, checksum=False), options(unit=unit, checksum=False)) == got
    asked = decode_sics(sics(shown, unit), options(unit=unit, format="sics"))
    assert asked == (Weight(0.0, False, False) if shown.over else got._replace(mass_kg=asked.mass_kg))
    assert shown.over or asked.mass_kg == pytest.approx(shown.kg, abs=step_kg)


def test_by_hand():
    # Status A 0x2A: no decimals; B 0x3A: kilograms, negative, motion; -120 shown, no tare.
    record = b"\x02\x2a\x3a\x20   120000000\r"
    assert decode(record, options(checksum=False)) == Weight(-120.0, stable=False)
    # Status A 0x2C: two decimals; B 0x31: net, in tonnes by C 0x22; 33.50 t net of 14.20 t.
    record = b"\x02\x2c\x31\x22003350001420\r"
    assert decode(record, options(checksum=False, unit="t")).mass_kg == pytest.approx(47_700.0)
    assert decode_sics(b"S S    17240.0 kg\r\n", options()) == Weight(17_240.0, stable=True)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (toledo(Shown(1000.0), "lb"), "byte 2: expected weights in kg, got lb: the indicator was changed"),
        (toledo(Shown(10_000.0), "t"), "byte 2: expected weights in kg, got t"),
        (b"\x02\x2a\x30\x30001000000000\r", "byte 3: expected weights as shown, got ten times"),
        (b"\x02\x2a\x30\x200010x0000000\r", "byte 4: expected six digits"),
        (b"\x02\x2a\x30\x20      000000\r", "byte 4: expected six digits"),
        (b"\x02\xaa\x30\x20001000000000\r", "byte 1: expected seven bits, got 0xAA"),
    ],
)
def test_a_scale_that_jumps_units_or_a_record_that_is_none(record, expected):
    with pytest.raises(RecordError, match=expected):
        decode(record, options(checksum=len(record) == 18))


@pytest.mark.parametrize(
    ("record", "error", "expected"),
    [
        (b"S S     1000.0 lb\r\n", RecordError, "expected weights in kg, got lb"),
        (b"S S     10 0.0 kg\r\n", RecordError, "byte 4: expected a weight"),
        (b"S S    1000.0 kg\r\n", RecordError, "expected S, a status, a weight and its unit"),
        (b"ES\r\n", RecordError, "byte 0: expected S"),
        (b"S I\r\n", DriverError, "the scale is busy"),
    ],
)
def test_answers_that_are_no_weight(record, error, expected):
    with pytest.raises(error, match=expected):
        decode_sics(record, options())


class Scripted(Indicator):
    """Shows one thing after the other, a record each."""

    def __init__(self, script, opened=None, **more):
        super().__init__(self._next, **more)
        self._script = list(script)
        self._opened = opened

    def _next(self):
        if self._opened is not None and not self._opened.is_set():
            return Shown(0.0)
        return self._script.pop(0) if len(self._script) > 1 else self._script[0]


SCRIPT = [
    *[Shown(0.0)] * 3, Shown(8000.0, motion=True), *[Shown(17_240.0)] * 8, Shown(5000.0, motion=True),
    *[Shown(0.0)] * 3, *[Shown(45_100.0)] * 8, Shown(0.0),
]  # fmt: skip


def collected(driver, count, seconds=PATIENCE_S):
    got, deadline = [], time.monotonic() + seconds
    while len(got) < count and time.monotonic() < deadline:
        got += driver.read(NOW)
    return got


@BOTH
def test_weighings_off_a_continuous_output(serial):
    more = {"step": "gross", "ticket_prefix": "B1-"}
    # A terminal speaks before the driver opens it, which forgets what came: it is empty until then.
    opened = threading.Event()
    talk = lambda: Scripted(SCRIPT, opened)  # noqa: E731
    with (
        closing(Peer(talk, serial=serial, period_s=0.01)) as peer,
        driving("weighbridge", {**peer.at, **more}, device_class="weighbridge") as driver,
    ):
        opened.set()
        got = collected(driver, 2)
    assert [reading.values["mass_kg"] for reading in got] == [17_240.0, 45_100.0]
    assert got[0].values == {"mass_kg": 17_240.0, "step": "gross", "ticket": "B1-20260101T000000.000"}


@BOTH
def test_weighings_on_demand(serial):
    talk = lambda: Scripted(SCRIPT, demand=True)  # noqa: E731
    with (
        closing(Peer(talk, serial=serial)) as peer,
        driving("weighbridge", {**peer.at, "format": "sics"}) as driver,
    ):
        got = collected(driver, 2)
    assert [reading.values for reading in got] == [{"mass_kg": 17_240.0}, {"mass_kg": 45_100.0}]


def test_damaged_records_are_counted_and_no_weighing_comes_of_them():
    rng = random.Random(8)

    def noise(data):
        if rng.random() < 0.2:
            at = rng.randrange(len(data))
            return data[:at] + bytes([data[at] ^ 1 << rng.randrange(7)]) + data[at + 1 :]
        return data[: rng.randrange(len(data))] if rng.random() < 0.1 else data

    script = [
        *[Shown(0.0)] * 40,
        *[Shown(17_240.0)] * 60,
        *[Shown(0.0)] * 40,
        *[Shown(45_100.0)] * 60,
        Shown(0.0),
    ]
    with (
        closing(Peer(lambda: Scripted(script), period_s=0.002)) as peer,
        driving("weighbridge", {**peer.at, "settle": 2}) as driver,
    ):
        peer.mangle = noise
        got = []
        deadline = time.monotonic() + PATIENCE_S
        while len(got) < 2 and time.monotonic() < deadline:
            try:
                got += driver.read(NOW)
            except RecordError:
                continue
    assert [reading.values["mass_kg"] for reading in got] == [17_240.0, 45_100.0]
    assert driver.complaints.counts["d1 record"] > 5


def test_over_range_is_counted():
    with (
        closing(Peer(lambda: Scripted([Shown(60_000.0, over=True)]), period_s=0.01)) as peer,
        driving("weighbridge", peer.at) as driver,
    ):
        assert driver.read(NOW) == []
        assert driver.complaints.counts["d1 over-range"] >= 1


def test_an_indicator_that_says_nothing_is_an_error():
    with closing(Peer(lambda: Scripted(SCRIPT), period_s=3600)) as peer:
        peer.mangle = lambda _: b""
        with driving("weighbridge", {**peer.at, "timeout_s": 0.1}) as driver:  # noqa: SIM117  the mangling first
            with pytest.raises(DriverError, match=r"expected the device to speak, got nothing within 0\.1 s"):
                driver.read(NOW)


def test_thresholds_that_cross_are_refused():
    with pytest.raises(ConfigError, match="expected empty_kg below min_kg, got 2000 and 1000"):
        make(device("weighbridge", {"address": "tcp://h:1", "empty_kg": 2000}))


def test_the_simulated_bridge_has_a_truck_every_20_s():
    bridge = Bridge(options())
    weights = [decode(toledo(traffic(t / 10)), options()) for t in range(600)]
    assert [kg for w in weights if (kg := bridge.take(w)) is not None] == [15_000.0, 15_020.0, 15_040.0]
