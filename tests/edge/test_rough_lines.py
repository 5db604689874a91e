"""Devices that speak slowly, without end, or of nothing: what came is kept, what is wrong is said."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from functools import reduce

import pytest

from edge.driver import DriverError, RecordError
from edge.drivers import mbus, nmea
from edge.simulators import weighbridge as weighbridge_sim
from tests.support.driving import driving
from tests.support.waiting import PATIENCE_S, until

FIX = b"$GNRMC,083559.00,A,3954.5220,N,11623.8500,E,19.44,77.5,010126,,,A*7F\r\n"
NOW = 1_767_256_560_000


@contextmanager
def peer(talk):
    """A device on TCP; `talk` is given each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        def answer(connection):
            try:
                with connection:
                    talk(connection)
            except OSError:
                pass  # the driver has hung up

        threading.Thread(target=serve, daemon=True).start()
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def sentence(body):
    return b"$" + body + b"*%02X\r\n" % reduce(lambda a, b: a ^ b, body)


def test_the_first_call_waits_for_a_position_that_comes_byte_by_byte():
    def dribble(connection):
        for byte in sentence(b"GPGLL,3954.5,N,11623.8,E,083559,A") + FIX:
            connection.sendall(bytes((byte,)))
            time.sleep(0.002)
        connection.recv(1)

    with peer(dribble) as address, driving("nmea", {"address": address, "timeout_s": 20}) as driver:
        assert [reading.t_ms for reading in driver.read(NOW)] == [1_767_256_559_000]


@pytest.mark.parametrize("driver", ["nmea", "weighbridge"])
def test_bytes_without_a_record_are_an_error_that_says_what_to_check(driver):
    def noise(connection):
        connection.sendall(b"\xfa\x1c\x80" * 400)
        connection.recv(1)

    expected = r"expected records, got \d+ bytes without one: check baud"
    with (
        peer(noise) as address,
        driving(driver, {"address": address, "timeout_s": 20}) as reader,
        pytest.raises(DriverError, match=expected),
    ):
        reader.read(NOW)


def test_two_trucks_since_the_last_call_are_two_weighings():
    shows = [0] * 6 + [20_000] * 6 + [0] * 3 + [30_000] * 6
    records = b"".join(weighbridge_sim.toledo(weighbridge_sim.Shown(kg)) for kg in shows)

    def trucks(connection):
        connection.sendall(records)
        connection.recv(1)

    options = {"ticket_prefix": "B-", "timeout_s": 20}
    with peer(trucks) as address, driving("weighbridge", {"address": address, **options}) as driver:
        readings, deadline = [], time.monotonic() + PATIENCE_S
        while len(readings) < 2 and time.monotonic() < deadline:
            readings += driver.read(NOW + len(readings) * 10)
    assert [reading.values["mass_kg"] for reading in readings] == [20_000, 30_000]
    assert len({reading.t_ms for reading in readings}) == len({r.values["ticket"] for r in readings}) == 2


def test_names_without_end_are_counted_under_one():
    flood = b"".join(sentence(b"Q%04X,1" % number) for number in range(3000))

    def talk(connection):
        connection.sendall(flood + FIX)
        connection.recv(1)

    with peer(talk) as address, driving("nmea", {"address": address, "timeout_s": 20}) as driver:
        readings, deadline = [], time.monotonic() + PATIENCE_S
        while not readings and time.monotonic() < deadline:
            readings += driver.read(NOW)
        assert len(readings) == 1
        assert len(driver.complaints.counts) == 101
        assert sum(driver.complaints.counts.values()) == 3000


def test_an_answer_that_dribbles_ends_in_time():
    def dribble(connection):
        connection.recv(9999)
        for byte in b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 10_000:
            connection.sendall(bytes((byte,)))
            time.sleep(0.05)

    with peer(dribble) as address:
        options = {"url": address.replace("tcp", "http"), "values": {"supply_c": {"pointer": "/a"}}}
        began_s = time.monotonic()
        with (
            driving("http_json", {**options, "timeout_s": 0.5}) as driver,
            pytest.raises(DriverError, match=r"expected the whole answer within 0\.5 s"),
        ):
            driver.read(NOW)
        assert time.monotonic() - began_s < 60, "it would go on for eight minutes"


def test_a_sentence_that_its_library_trips_over_is_a_damaged_record():
    with pytest.raises(RecordError, match="byte 1: expected a sentence"):
        nmea.decode(sentence(b"PASHR"))


def test_a_telegram_that_its_library_trips_over_is_a_damaged_record():
    def telegram(*records):
        body = bytes((0x08, 1, 0x72)) + bytes(12) + b"".join(records)
        return bytes((0x68, len(body), len(body), 0x68)) + body + bytes((sum(body) & 0xFF, 0x16))

    text = bytes((0x0D, 0x06, 2)) + b"ab"
    assert mbus.decode(telegram(text, bytes.fromhex("0413e8030000"))).values == {"volume_m3": 1.0}


def test_a_gateway_that_does_not_reach_its_device_is_asked_once_and_then_less_often():
    asked = []

    def gateway(connection):
        while request := connection.recv(300):
            asked.append(request)
            answer = bytes((request[7] | 0x80, 11))
            if request[6] == 2:
                answer = bytes((3, 2 * request[11])) + bytes(2 * request[11])
            connection.sendall(request[:4] + (len(answer) + 1).to_bytes(2, "big") + request[6:7] + answer)

    registers = {f"x{i}_c": {"register": 2 * i} for i in range(8)}
    with peer(gateway) as address:
        options = {"address": address, "registers": registers, "timeout_s": 20}
        with driving("modbus", options) as gone, driving("modbus", {**options, "meter": 2}) as there:
            for _ in range(3):
                with pytest.raises(DriverError, match="gateway target does not respond"):
                    gone.read(NOW)
            assert len(asked) == 3
            until(lambda: put_off(gone), "its neighbours go first")  # for 1 s, then 2, 4, …
            assert len(there.read(NOW)[0].values) == 8


def put_off(driver):
    """Whether it is not even asked."""
    with pytest.raises(DriverError, match=r"its neighbours go first|target does not respond") as caught:
        driver.read(NOW)
    return "its neighbours go first" in str(caught.value)


def test_a_device_that_is_busy_in_the_middle_gives_what_it_gave():
    def busy(connection):
        while request := connection.recv(300):
            answer = bytes((3, 2, 0, 7)) if request[9] == 0 else bytes((0x83, 6))
            connection.sendall(request[:4] + (len(answer) + 1).to_bytes(2, "big") + request[6:7] + answer)

    registers = {"supply_c": {"register": 0}, "return_c": {"register": 5}, "flow_m3_h": {"register": 9}}
    options = {"registers": registers, "timeout_s": 20}
    with peer(busy) as address, driving("modbus", {"address": address, **options}) as driver:
        assert driver.read(NOW)[0].values == {"supply_c": 7.0}
        assert driver.complaints.counts == {"d1 put off": 1}
