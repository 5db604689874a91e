"""Positions: NMEA 0183 receivers, JT/T 808 terminals, and the datum that both may be on."""

from __future__ import annotations

import socket
import time
from contextlib import closing, suppress

import pytest

from edge import tcp_server
from edge.config import ConfigError
from edge.datum import gcj02_of, wgs84_of
from edge.driver import DriverError, RecordError
from edge.drivers import make
from edge.drivers.nmea import NoFixError, UnknownSentenceError, decode
from edge.jt808 import decode as decode_jt808
from edge.jt808 import split
from edge.simulators import jt808 as jt808_sim
from edge.simulators import nmea as nmea_sim
from edge.simulators.nmea import rmc, sentence
from edge.simulators.peer import Peer
from tests.support.driving import device, driving
from tests.support.mosquitto import free_port
from tests.support.waiting import PATIENCE_S

NOW = 1_767_225_600_000
BOTH = pytest.mark.parametrize("serial", [False, True], ids=["tcp", "serial"])


# Known pairs of WGS 84 and GCJ-02, as converters of maps agree on them.
@pytest.mark.parametrize(
    ("wgs84", "gcj02"),
    [
        ((31.1774276, 121.5272106), (31.17530398364597, 121.531541859215)),
        ((22.543847, 113.912316), (22.540796131694766, 113.9171764808363)),
        ((39.911954, 116.377817), (39.91334545536069, 116.38404722455657)),
        ((51.5, -0.12), (51.5, -0.12)),
    ],
)
def test_gcj_02_and_back(wgs84, gcj02):
    assert gcj02_of(*wgs84) == pytest.approx(gcj02, abs=1e-6)
    assert wgs84_of(*gcj02_of(*wgs84)) == pytest.approx(wgs84, abs=1e-9)


class Scripted(nmea_sim.Receiver):
    """Says it all at once; on a terminal again and again, for nobody may be listening yet."""

    def __init__(self, script, *, again):
        self._script = script
        self._again = again

    def tick(self):
        said = b"".join(self._script)
        self._script = self._script if self._again else []
        return said


def receiver(*script, serial=False):
    return closing(Peer(lambda: Scripted(script, again=serial), serial=serial, period_s=0.05))


FIX = rmc(NOW + 250, 39.9, 116.4, 10.0, 77.5)


@BOTH
def test_the_last_fix_of_an_interval(serial):
    said = [rmc(NOW, 39.8, 116.3, 9.0, 70.0), sentence("GPGSV,1,1,00"), FIX]
    with receiver(*said, serial=serial) as peer, driving("nmea", peer.at) as driver:
        (reading,) = driver.read(0)
    assert reading.t_ms == NOW + 250, "the time is the receiver's"
    assert reading.values == pytest.approx(
        {"lat_deg": 39.9, "lon_deg": 116.4, "speed_m_s": 10.0, "heading_deg": 77.5}, rel=1e-4
    )
    with receiver(*said, serial=serial) as peer, driving("nmea", {**peer.at, "every": True}) as driver:
        assert [r.t_ms for r in driver.read(0)][:2] == [NOW, NOW + 250]


def test_a_receiver_on_gcj_02_is_converted():
    with (
        receiver(rmc(NOW, *gcj02_of(39.9, 116.4), 0.0, 0.0)) as peer,
        driving("nmea", {**peer.at, "datum": "gcj02"}) as driver,
    ):
        values = driver.read(0)[0].values
    assert (values["lat_deg"], values["lon_deg"]) == pytest.approx((39.9, 116.4), abs=2e-6)


@pytest.mark.parametrize(
    "bad", [rmc(NOW, 0, 0, 0, 0, status="V", mode="N"), rmc(NOW, 39.9, 116.4, 0, 0, mode="E")]
)
def test_a_sentence_without_a_fix_is_named_counted_and_no_position(bad):
    with pytest.raises(NoFixError, match=r"expected a fix, got status [VA], mode [NE]"):
        decode(bad)
    with receiver(bad) as peer, driving("nmea", peer.at) as driver, pytest.raises(NoFixError):
        driver.read(0)
    with receiver(bad, FIX, bad) as peer, driving("nmea", peer.at) as driver:
        assert [r.t_ms for r in driver.read(0)] == [NOW + 250]
        assert driver.complaints.counts == {"d1 no fix": 2}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("GNRMC,000000.00,A,3954.0000,X,11624.0000,E,,,010126,,,A", "byte 19: expected degrees, .* 'X'"),
        ("GNRMC,000000.00,A,3964.0000,N,11624.0000,E,,,010126,,,A", "byte 19: expected degrees, minutes"),
        ("GNRMC,000000.00,A,9154.0000,N,11624.0000,E,,,010126,,,A", "expected at most 90°, got 91.9°"),
        ("GNRMC,000000.00,A,3954.0000,N,11624.0000,E,-1,,010126,,,A", "expected 0 to 10000, got '-1'"),
        ("GNRMC,000000.00,A,3954.0000,N,11624.0000,E,,361,010126,,,A", "expected 0 to 360, got '361'"),
        ("GNRMC,000000.00,A,3954.0000,N,11624.0000,E,,,320126,,,A", "expected a time and a date"),
        ("GNRMC,,A,3954.0000,N,11624.0000,E,,,010126,,,A", "expected a time and a date, got ''"),
        (
            "GNRMC,000000.00,A,3954.0000,N,11624.0000,E,,,180506,,,A",
            "expected a date since 2020-01-01, got 2006",
        ),
        ("GN", "expected a sentence"),
    ],
)
def test_a_sentence_whose_fields_cannot_be_is_refused(body, expected):
    with pytest.raises(RecordError, match=expected):
        decode(sentence(body))


def test_what_a_receiver_does_not_say_is_absent():
    fix = decode(sentence("GNRMC,000000,A,3954.0000,N,11624.0000,W,,,010126,,,D"))
    assert fix == (NOW, 39.9, -116.4, None, None)


def test_an_unknown_sentence_is_named_counted_and_passed_over():
    unknown = sentence("GNXYZ,1,2")
    with pytest.raises(UnknownSentenceError, match="expected a known sentence, got b'GNXYZ,'"):
        decode(unknown)
    with receiver(unknown, FIX) as peer, driving("nmea", peer.at) as driver:
        assert [r.t_ms for r in driver.read(0)] == [NOW + 250]
        assert driver.complaints.counts == {"d1 unknown sentence GNXYZ": 1}


def test_a_damaged_sentence_is_counted_and_its_neighbours_stand():
    damaged = FIX.replace(b"39", b"38", 1)
    with receiver(b"54.0,N*00\r\n", damaged, FIX, FIX[:30]) as peer, driving("nmea", peer.at) as driver:
        assert [r.t_ms for r in driver.read(0)] == [NOW + 250]
        assert driver.complaints.counts == {"d1 record": 1}
        assert "expected checksum" in driver.said[0]


PHONE = "013912345678"


def framed(payload):
    return jt808_sim.escape(bytes.fromhex(payload))


@pytest.mark.parametrize(
    ("frame", "offset", "expected"),
    [
        (framed("0002 0001 013912345678 0001"), 13, "expected 14 bytes, got 13"),
        (framed("0002 0000 013912345678 0001 00"), 13, "expected 13 bytes, got 14"),
        (framed("0002 0400 013912345678 0001"), 3, "expected no encryption"),
        (framed("0002 0000 01391234567a 0001"), 5, "expected a phone number, got 01391234567a"),
        (framed("0002 2000 013912345678 0001 0002 0003"), 13, "expected package 1 to 2, got 3"),
        (framed("0002"), 4, "expected at least 13 bytes, got 3"),
        (b"~\x7d\x03~", 2, "expected 01 or 02 behind 0x7D, got 03"),
        (b"~\x7d~", 2, "expected 01 or 02 behind 0x7D"),
        (b"noise", 0, "expected 0x7E, got 6e"),
    ],
)
def test_frames_whose_checksum_is_right_and_that_are_none_all_the_same(frame, offset, expected):
    with pytest.raises(RecordError, match=expected) as caught:
        decode_jt808(frame)
    assert caught.value.offset == offset


class Line:
    """A terminal's connection, spoken by hand."""

    def __init__(self, port, phone=PHONE, edition=2013):
        self.terminal = jt808_sim.Terminal(phone, edition)
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.socket.settimeout(PATIENCE_S)
        self._heard = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def say(self, data):
        self.socket.sendall(data)

    def hear(self):
        while True:
            frames, self._heard = split(self._heard)
            if frames:
                self._heard = b"".join(frames[1:]) + self._heard
                return self.terminal.heard(frames[0])
            data = self.socket.recv(4096)
            assert data, "hung up"
            self._heard += data

    def reply(self):
        kind, body = self.hear()
        assert kind == 0x8001
        return int.from_bytes(body[:2], "big"), int.from_bytes(body[2:4], "big"), body[4]

    def log_in(self):
        self.say(self.terminal.register())
        kind, body = self.hear()
        assert (kind, body[:3]) == (0x8100, self.terminal.serial.to_bytes(2, "big") + b"\x00")
        self.say(self.terminal.authenticate(body[3:]))
        assert self.reply() == (self.terminal.serial, 0x0102, 0)
        return self


def platform(port=None, name="d1", **more):
    given = {
        "listen": f"127.0.0.1:{port or free_port()}",
        "phone": PHONE,
        "datum": "wgs84",
        "timeout_s": 0,
        **more,
    }
    return driving("jt808", given, name=name, device_class="truck")


def port_of(driver):
    return driver.options.where[1]


def at(seconds, lat=39.9, lon=116.4, **more):
    return jt808_sim.location(NOW + 1000 * seconds, lat, lon, 15.0, 77, **more)


def until(driver, count):
    got, deadline = [], time.monotonic() + PATIENCE_S
    while len(got) < count and time.monotonic() < deadline:
        got += driver.read(NOW)
        time.sleep(0.005)
    return got


@pytest.mark.parametrize("edition", [2013, 2019])
def test_a_terminal_registers_authenticates_and_reports(edition):
    with platform() as driver, Line(port_of(driver), edition=edition).log_in() as line:
        line.say(line.terminal.message(0x0002, b""))
        assert line.reply() == (line.terminal.serial, 0x0002, 0)
        line.say(
            line.terminal.message(0x0200, at(0, lat=-39.9, items=b"\x01\x04\x00\x00\x7d\x7e\x30\x01\x1f"))
        )
        (reading,) = until(driver, 1)
        assert reading.t_ms == NOW
        assert reading.values == {"lat_deg": -39.9, "lon_deg": 116.4, "speed_m_s": 15.0, "heading_deg": 77.0}
        assert not driver.said


def test_a_batch_and_a_batch_in_packages():
    def body(*seconds):
        parts = b"".join(len(b := at(s)).to_bytes(2, "big") + b for s in seconds)
        return len(seconds).to_bytes(2, "big") + b"\x01" + parts

    with platform() as driver, Line(port_of(driver)).log_in() as line:
        line.say(line.terminal.message(0x0704, body(0, 1, 2)))
        assert [r.t_ms for r in until(driver, 3)] == [NOW, NOW + 1000, NOW + 2000]
        whole = body(3, 4, 5, 6)
        for number in (1, 2, 3):
            line.say(
                line.terminal.message(
                    0x0704, whole[(number - 1) * 45 : number * 45 if number < 3 else None], (number, 3)
                )
            )
        assert [r.t_ms for r in until(driver, 4)] == [NOW + 1000 * s for s in (3, 4, 5, 6)]


def test_a_position_is_answered_once_it_is_kept():
    with platform() as driver, Line(port_of(driver)).log_in() as line:
        line.say(line.terminal.message(0x0200, at(0)))
        serial = line.terminal.serial
        assert len(until(driver, 1)) == 1
        line.say(line.terminal.message(0x0002, b""))
        assert line.reply()[1] == 0x0002, "the position of the last read is not yet known to be kept"
        driver.read(NOW)
        assert line.reply() == (serial, 0x0200, 0)
    with platform(reply="received") as driver, Line(port_of(driver)).log_in() as line:
        line.say(line.terminal.message(0x0200, at(0)))
        assert line.reply() == (line.terminal.serial, 0x0200, 0)


def test_positions_on_gcj_02_are_converted_and_without_a_fix_left_out():
    with platform(datum="gcj02") as driver, Line(port_of(driver)).log_in() as line:
        line.say(line.terminal.message(0x0200, at(0, fix=False)))
        assert line.reply() == (line.terminal.serial, 0x0200, 0)
        line.say(line.terminal.message(0x0200, at(1, *gcj02_of(39.9, 116.4))))
        (reading,) = until(driver, 1)
        assert reading.t_ms == NOW + 1000
        assert (reading.values["lat_deg"], reading.values["lon_deg"]) == pytest.approx(
            (39.9, 116.4), abs=2e-6
        )
        assert driver.complaints.counts == {"d1 no fix": 1}


def test_bad_messages_are_named_counted_answered_and_the_next_stands():
    with platform(reply="received") as driver, Line(port_of(driver)).log_in() as line:
        line.say(line.terminal.message(0x0F42, b"?"))
        assert line.reply() == (line.terminal.serial, 0x0F42, 3)
        line.say(b"noise" + line.terminal.message(0x0200, at(0))[:-4] + b"~")
        line.say(line.terminal.message(0x0200, at(0)[:20]))
        assert line.reply() == (line.terminal.serial, 0x0200, 2)
        line.say(line.terminal.message(0x0200, at(0)[:-6] + bytes.fromhex("261301000000")))
        assert line.reply() == (line.terminal.serial, 0x0200, 2)
        line.say(line.terminal.message(0x0200, at(5)))
        assert line.reply() == (line.terminal.serial, 0x0200, 0)
        assert [r.t_ms for r in until(driver, 1)] == [NOW + 5000]
        assert driver.complaints.counts == {"d1 unknown message 0x0F42": 1, "d1 record": 4}


def test_nobody_reports_for_another():
    other = "013900000000"
    port = free_port()
    with platform(port) as driver:
        with Line(port) as line:  # not authenticated
            line.say(line.terminal.message(0x0200, at(0)))
            assert line.reply()[2] == 1
            line.say(line.terminal.authenticate(b"guess"))
            assert line.reply()[2] == 1
        with Line(port, phone=other) as line:  # unknown
            line.say(line.terminal.register())
            assert line.hear()[1][2:] == b"\x04"
        with Line(port).log_in() as line:  # in another's name
            mine, line.terminal = line.terminal, jt808_sim.Terminal(other)
            line.say(line.terminal.message(0x0200, at(0)))
            assert line.reply()[2] == 1
            line.terminal = mine
        assert driver.read(NOW) == []
        assert driver.complaints.counts == {"d1 not authenticated": 2, "d1 unknown terminal": 2}


def test_terminals_of_one_address_share_a_server_and_a_stranger_hurts_none():
    port, second = free_port(), "013900000002"
    with platform(port) as one, platform(port, "d2", phone=second) as two:
        with (
            pytest.raises(DriverError, match="expected each terminal once"),
            platform(port, "d3", phone=second),
        ):
            pass
        with Line(port) as stranger, Line(port).log_in() as a, Line(port, phone=second).log_in() as b:
            stranger.say(b"~" + b"\x00" * 9000)
            a.say(a.terminal.message(0x0200, at(1)))
            b.say(b.terminal.message(0x0200, at(2)))
            assert [r.t_ms for r in until(one, 1)] == [NOW + 1000]
            assert [r.t_ms for r in until(two, 1)] == [NOW + 2000]
            with suppress(ConnectionResetError):
                while stranger.socket.recv(4096):
                    pass  # it was hung up on
        assert one.complaints.counts == {"d1 flood": 1}
    with pytest.raises(ConnectionRefusedError):
        Line(port)


def test_a_caller_that_never_authenticates_is_hung_up_on_and_a_fault_ends_one_connection(monkeypatch):
    port = free_port()
    with platform(port, reply="received") as driver, Line(port).log_in() as line, Line(port) as stranger:
        stranger.say(b"~\x00")
        with monkeypatch.context() as patched:
            patched.setattr(tcp_server, "GREETING_S", 0.2)
            assert stranger.socket.recv(10) == b""
        with Line(port, phone="013900000009") as broken, monkeypatch.context() as patched:
            patched.setattr("edge.jt808_platform.encode", lambda *_: 1 / 0)
            broken.say(broken.terminal.register())
            assert broken.socket.recv(10) == b""
        line.say(line.terminal.message(0x0200, at(0)))
        assert line.reply()[2] == 0
        assert driver.complaints.counts["d1 failed"] == 1


def test_another_configuration_of_a_terminal_takes_its_place_while_it_is_connected():
    port = free_port()
    with platform(port) as before, Line(port).log_in() as line:
        with platform(port, datum="gcj02") as after:
            before.close()
            line.say(line.terminal.message(0x0200, at(0)))
            assert len(until(after, 1)) == 1
            assert not after.said
        with pytest.raises(ConnectionRefusedError):
            Line(port)
    with platform(port) as before, Line(port).log_in() as line, platform(port, token="another"):
        line.say(line.terminal.message(0x0200, at(0)))
        assert line.reply()[2] == 1
        assert before.read(NOW) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"listen": "0.0.0.0:7611"},
            "expected listen on the loopback interface, got 0.0.0.0:7611: .*private_network",
        ),
        ({"phone": "139-1234"}, "phone: .*pattern"),
        ({"datum": "bd09"}, "datum: expected 'wgs84' or 'gcj02', got 'bd09'"),
    ],
)
def test_wrong_options_are_named(change, expected):
    given = {"listen": "127.0.0.1:0", "phone": PHONE, "datum": "wgs84", **change}
    with pytest.raises(ConfigError, match=expected):
        make(device("jt808", given))
    with pytest.raises(ConfigError, match="datum: expected a value"):
        make(device("jt808", {"listen": "127.0.0.1:0", "phone": PHONE}))
