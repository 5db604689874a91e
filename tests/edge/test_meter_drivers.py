"""Modbus, M-Bus and CJ/T 188 against devices on sockets and pseudo-terminals."""

from __future__ import annotations

import asyncio
import struct
import sys
import threading
from contextlib import closing, contextmanager

import pytest
from pymodbus.framer import FramerType
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from edge.config import ConfigError, EdgeConfig
from edge.driver import DriverError, RecordError
from edge.drivers import cjt188, make, mbus, modbus
from edge.drivers.modbus import RefusedError, Register
from edge.simulators import cjt188 as cjt188_sim
from edge.simulators import mbus as mbus_sim
from edge.simulators import modbus as modbus_sim
from edge.simulators import simulate
from edge.simulators.peer import Peer
from tests.support.driving import device, driving
from tests.support.mosquitto import free_port
from tests.support.waiting import PATIENCE_S, until

NOW = 1_767_225_600_000


def refuses(driver, error, match):
    with pytest.raises(error, match=match):
        driver.read(NOW)


BOTH = pytest.mark.parametrize("serial", [False, True], ids=["tcp", "serial"])
SHOWN = {
    "energy_gj": 3.6 * 1171.68, "volume_m3": 31_240.57, "heat_kw": 590.4, "flow_m3_h": 12.562,
    "supply_c": 92.1, "return_c": 51.3, "operating_h": 7312.0,
}  # fmt: skip

# By hand: an energy of 1,234,567 kWh/100 low word first, 92.1 °C as tenths, -12.5 kPa, a float of m³/h.
MAP = {
    "energy_gj": {"register": 100, "type": "uint32", "word_order": "little", "scale": 0.01, "unit": "kWh"},
    "supply_c": {"register": 102, "scale": 0.1, "low": 0, "high": 180},
    "return_kpa": {"register": 103, "type": "int16", "scale": 0.5},
    "flow_m3_h": {"table": "input", "register": 7, "type": "float32"},
}
HOLDING = {100: 0xD687, 101: 0x0012, 102: 921, 103: 0xFFE7}
INPUT = dict(zip((7, 8), struct.unpack(">HH", struct.pack(">f", 12.5)), strict=True))
EXPECTED = {"energy_gj": 12345.67 * 0.0036, "supply_c": 92.1, "return_kpa": -12.5, "flow_m3_h": 12.5}


def words(table):
    return {number: word.to_bytes(2, "big") for number, word in table.items()}


def modbus_peer(serial=False, units=(5,), holding=HOLDING, rtu=None):
    tables = {3: words(holding), 4: words(INPUT)}
    rtu = serial if rtu is None else rtu
    return closing(Peer(lambda: modbus_sim.Device(dict.fromkeys(units, tables.get), rtu=rtu), serial=serial))


@BOTH
def test_modbus_gives_the_values_of_its_registers(serial):
    with modbus_peer(serial) as peer, driving("modbus", {**peer.at, "meter": 5, "registers": MAP}) as driver:
        for _ in range(3):
            (reading,) = driver.read(NOW)
            assert reading.t_ms == NOW
            assert reading.values == pytest.approx(EXPECTED)
        assert not driver.said


@contextmanager
def pymodbus_server(framer):
    """The server of the library: an implementation of the protocol that is neither ours nor simulated."""

    async def serve(port):
        blocks = [
            SimData(100, values=list(HOLDING.values()), datatype=DataType.REGISTERS),
            SimData(7, values=12.5, datatype=DataType.FLOAT32),
        ]
        server = ModbusTcpServer(SimDevice(id=5, simdata=blocks), framer=framer, address=("127.0.0.1", port))
        await server.serve_forever(background=True)
        running.update(loop=asyncio.get_running_loop(), stop=asyncio.Event())
        ready.set()
        await running["stop"].wait()
        await server.shutdown()

    port, ready, running = free_port(), threading.Event(), {}
    thread = threading.Thread(target=lambda: asyncio.run(serve(port)))
    thread.start()
    try:
        assert ready.wait(PATIENCE_S)
        yield {
            "address": f"tcp://127.0.0.1:{port}",
            "framing": "tcp" if framer == FramerType.SOCKET else "rtu",
        }
    finally:
        running["loop"].call_soon_threadsafe(running["stop"].set)
        thread.join(PATIENCE_S)


@pytest.mark.parametrize("framer", [FramerType.SOCKET, FramerType.RTU])
def test_modbus_against_a_server_of_others(framer):
    registers = {**MAP, "outdoor_c": {"register": 104}}
    with (
        pymodbus_server(framer) as at,
        driving("modbus", {**at, "meter": 5, "registers": registers}) as driver,
    ):
        for _ in range(2):
            assert driver.read(NOW)[0].values == pytest.approx(EXPECTED)
        assert driver.complaints.counts == {"d1 outdoor_c refused": 2}


def test_modbus_rtu_through_a_serial_server():
    options = {"meter": 5, "registers": MAP, "framing": "rtu"}
    with modbus_peer(rtu=True) as peer, driving("modbus", {**peer.at, **options}) as driver:
        assert driver.read(NOW)[0].values == pytest.approx(EXPECTED)


def test_registers_are_read_together_where_they_touch():
    read = modbus.blocks({name: Register.model_validate(spec) for name, spec in MAP.items()})
    assert [(b.table, b.register, b.words) for b in read] == [("holding", 100, 4), ("input", 7, 2)]
    many = {f"r{i}": Register(first=i) for i in range(300)}
    assert [b.words for b in modbus.blocks(many)] == [125, 125, 50]


def test_a_register_that_does_not_exist_is_named_counted_and_its_neighbours_stand():
    registers = {**MAP, "outdoor_c": {"register": 104, "scale": 0.1}}
    with modbus_peer() as peer, driving("modbus", {**peer.at, "meter": 5, "registers": registers}) as driver:
        for _ in range(2):
            assert driver.read(NOW)[0].values == pytest.approx(EXPECTED)
        assert driver.complaints.counts == {"d1 outdoor_c refused": 2}
        assert driver.said[0] == (
            "d1: outdoor_c: holding 104 to 104: expected registers, "
            "got exception 2 (illegal data address: the register does not exist)"
        )


def test_no_register_at_all_is_an_error_of_the_device():
    registers = {"outdoor_c": {"register": 9000}}
    with modbus_peer() as peer, driving("modbus", {**peer.at, "meter": 5, "registers": registers}) as driver:
        refuses(driver, RefusedError, r"holding 9000 to 9000.*does not exist")


def test_a_register_whose_scale_jumps_is_left_out_and_named():
    with (
        modbus_peer(holding={**HOLDING, 102: 9210}) as peer,
        driving("modbus", {**peer.at, "meter": 5, "registers": MAP}) as driver,
    ):
        assert set(driver.read(NOW)[0].values) == set(EXPECTED) - {"supply_c"}
        assert driver.said == ["d1: supply_c: holding 102: expected at most 180, got 921 (raw 9210.0)"]


def test_a_float_that_is_no_number_is_left_out():
    registers = {"flow_m3_h": {"register": 0, "type": "float32"}, "supply_c": {"register": 2}}
    with (
        modbus_peer(holding={0: 0x7FC0, 1: 0, 2: 90}) as peer,
        driving("modbus", {**peer.at, "meter": 5, "registers": registers}) as driver,
    ):
        assert driver.read(NOW)[0].values == {"supply_c": 90.0}
        assert driver.complaints.counts == {"d1 flow_m3_h implausible": 1}


@BOTH
def test_an_answer_of_another_unit_is_an_error(serial):
    with modbus_peer(serial) as peer, driving("modbus", {**peer.at, "meter": 5, "registers": MAP}) as driver:

        def as_unit_6(data):
            body = b"\x06" + (data[1:-2] if serial else data[7:])
            if serial:
                return body + modbus_sim.crc16(body).to_bytes(2, "little")
            return data[:6] + body

        peer.mangle = as_unit_6
        refuses(driver, RecordError, r"expected unit 5, got 6")
        peer.mangle = lambda data: data
        assert driver.read(NOW)[0].values == pytest.approx(EXPECTED)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"registers": {}}, "registers: .*at least 1"),
        ({"registers": {"supply_c": {"register": 65_535, "type": "int32"}}}, "supply_c: expected to end by 65535"),
        ({"registers": {"supply_c": {"register": 1, "unit": "bar"}}}, "expected one of .*K.* for supply_c"),
        ({"registers": {"flow_m3_h": {"register": 1, "unit": "kg/s"}}}, "expected a volume flow"),
        ({"address": "udp://x:1"}, "address: expected tcp://HOST:PORT"),
        ({"framing": "tcp"}, "expected framing = 'rtu' on a serial port"),
        ({"meter": 300}, "meter: .*less than or equal to 255"),
        ({"colour": 1}, "colour: expected a known field"),
    ],
)  # fmt: skip
def test_wrong_modbus_options_are_named(change, expected):
    given = {"address": "/dev/ttyX", "registers": MAP, **change}
    with pytest.raises(ConfigError, match=expected), driving("modbus", given):
        pass


def telegrams(change):
    """Change answers, and leave acknowledgements of one byte as they are."""
    return lambda data: data if len(data) == 1 else change(data)


def mbus_peer(serial=False, meters=((7, "12345678"),)):
    return closing(Peer(lambda: mbus_sim.Meter(meters, lambda: SHOWN), serial=serial))


@BOTH
@pytest.mark.parametrize("who", [{"meter": 7}, {"secondary": "12345678"}], ids=["primary", "secondary"])
def test_mbus_gives_what_the_meter_shows_now(serial, who):
    with mbus_peer(serial) as peer, driving("mbus", {**peer.at, **who}) as driver:
        (reading,) = driver.read(NOW)
        assert reading.values == pytest.approx(SHOWN)
        assert not driver.said


@pytest.mark.parametrize(
    "who", [{"meter": 7}, {"meter": 7, "reset": False}, {"secondary": "12345678"}], ids=str
)
def test_each_answer_is_a_new_one_though_a_meter_repeats_itself_for_a_count_that_it_knows(who):
    shown = iter(range(50, 100))
    talk = lambda: mbus_sim.Meter([(7, "12345678")], lambda: {**SHOWN, "supply_c": float(next(shown))})  # noqa: E731
    with closing(Peer(talk)) as peer, driving("mbus", {**peer.at, **who}) as driver:
        assert [driver.read(NOW)[0].values["supply_c"] for _ in range(4)] == [50.0, 51.0, 52.0, 53.0]


def test_a_meter_that_does_not_acknowledge_is_an_error():
    with mbus_peer() as peer, driving("mbus", {**peer.at, "meter": 7}) as driver:
        peer.mangle = lambda _: b"\xa2"
        refuses(driver, RecordError, "byte 0: expected e5, got a2")


def test_a_meter_that_answers_with_anothers_address_is_an_error():
    with mbus_peer(meters=((7, "12345678"), (8, "87654321"))) as peer:
        with driving("mbus", {**peer.at, "meter": 7}) as driver:
            peer.mangle = telegrams(lambda _: mbus_sim.telegram(8, "87654321", SHOWN))
            refuses(driver, RecordError, r"byte 5: expected meter 7, got an answer of meter 8")
        with driving("mbus", {**peer.at, "secondary": "12345678"}) as driver:
            peer.mangle = telegrams(lambda _: mbus_sim.telegram(8, "87654321", SHOWN))
            refuses(driver, RecordError, r"byte 7: expected meter 12345678, got .* 87654321")


def test_what_a_meter_does_not_send_is_named_once_and_its_faults_each_time():
    shown = {name: value for name, value in SHOWN.items() if name != "heat_kw"}
    with mbus_peer() as peer, driving("mbus", {**peer.at, "meter": 7}) as driver:
        peer.mangle = telegrams(lambda _: mbus_sim.telegram(7, "12345678", shown, status=0x08))
        for _ in range(2):
            assert driver.read(NOW)[0].values == pytest.approx(shown)
        assert driver.complaints.counts == {"d1 heat_kw missing": 2, "d1 alarm": 2}
        assert [line for line in driver.said if "heat_kw" in line] == [
            "d1: heat_kw: expected it in the telegram, got none; it is left out"
        ]


def long_frame(records, ident="12345678"):
    data = b"\x08\x07\x72" + bytes.fromhex(ident)[::-1] + b"\x24\x23\x01\x04\x5e\x00\x00\x00" + records
    return bytes((0x68, len(data), len(data), 0x68)) + data + bytes((sum(data) & 255, 0x16))


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        (b"\x04\x06\x10\x27\x00\x00", {"energy_gj": 36.0}),  # binary, kWh
        (b"\x05\x3e\x00\x00\x48\x41", {"flow_m3_h": 12.5}),  # real, m³/h
        (b"\x0c\x0e\x56\x34\x12\x00", {"energy_gj": 123.456}),  # decimal, MJ: the unit is the record's
        (b"\x0a\x5a\x50\xf1", {"supply_c": -15.0}),  # decimal below zero
        (b"\x0a\x5a\xff\xff", {}),  # the meter's word for no value
        (b"\x4c\x06\x01\x00\x00\x00", {}),  # of the day of settlement
        (b"\x8c\x10\x06\x01\x00\x00\x00", {}),  # of a tariff
        (b"\x2f\x2f\x04\x7f\x01\x00\x00\x00\x0d\x78\x03abc\x0f\x01\x02", {}),  # filler, text, the maker's own
    ],
)
def test_records_by_hand(records, expected):
    assert mbus.decode(long_frame(records), 7).values == pytest.approx(expected)


# Answers of two real meters, as they are published with the tests of libmbus.
REAL = {
    "683d3d680801720051200282 4d0204008800000407000000000c15030000000b2e0000000b3b0000000a5a88120a5e1605"
    "0b61237700026c8c110227370d0f60006716": {
        "energy_gj": 0.0, "volume_m3": 0.3, "heat_kw": 0.0, "flow_m3_h": 0.0, "supply_c": 128.8,
        "return_c": 51.6, "operating_h": 3383 * 24.0,
    },
    "68717168080472881701 00ae4c060d3e000000046d3b0ee714346d0000010134fd170000000404209222f1000424a41ae700"
    "04863b979b00000413be095e00052eb1d12ebe053ef5b84e40055bb82df941055f788bf941056300803bbd04be5071bbb000"
    "04be58f40200000c7888170100027f10b55d16": {
        "volume_m3": 6162.878, "heat_kw": -0.1707218, "flow_m3_h": 3.2300389, "supply_c": 31.147324,
        "return_c": 31.193100, "operating_h": 15145636 / 3600,
    },
}  # fmt: skip


@pytest.mark.parametrize("telegram", REAL)
def test_mbus_reads_the_answers_of_real_meters(telegram):
    assert mbus.decode(bytes.fromhex(telegram)).values == pytest.approx(REAL[telegram], rel=1e-6)


def test_hours_switched_on_stand_for_operating_hours_where_there_are_no_others():
    on, operating = b"\x04\x22\xd9\x03\x00\x00", b"\x02\x26\x07\x00"
    assert mbus.decode(long_frame(on)).values == {"operating_h": 985.0}
    assert mbus.decode(long_frame(on + operating)).values["operating_h"] == 7.0


@pytest.mark.parametrize(
    ("records", "offset", "expected"),
    [
        (b"\x0c\x06\x1a\x00\x00\x00", 19, "expected decimal digits, got 0000001a"),
        (b"\x0a\x5a\x50\x01\x0c\x06\x56", 26, "expected 3 more bytes of the record at 23"),
        (b"\x0c", 20, "expected the record to go on"),
        (b"\x8c", 20, "expected the record to go on"),
        (b"\x0d\x78", 21, "expected the length of a text"),
        (b"\x0d\x78\x05ab", 24, "expected 3 more bytes"),
    ],
)
def test_a_record_that_is_wrong_inside_a_sound_frame_is_an_error(records, offset, expected):
    with pytest.raises(RecordError, match=expected) as caught:
        mbus.decode(long_frame(records), 7)
    assert caught.value.offset == offset


METER = {"meter": "00000040314132"}
# The answer of a real meter, as published in a field report on makers' differences: 25.35 and 25.66 °C,
# 10.34 m³, with the code of a unit before its number.
FIELD = bytes.fromhex(
    "fefefefe 68 20 32413140000000 81 2e 901f 01 0802000000 0802000000 1700000000 3500000000 2c34100000"
    "352500 662500 000000 53001210071520 0000 31 16"
)


def cj_peer(serial=False, **options):
    return closing(Peer(lambda: cjt188_sim.Meter([{**METER, **options}], lambda: SHOWN), serial=serial))


@BOTH
@pytest.mark.parametrize("layout", [{}, {"edition": "2018", "unit_first": True, "type": 0x22}], ids=str)
def test_cjt188_gives_what_the_meter_shows(serial, layout):
    with cj_peer(serial, **layout) as peer, driving("cjt188", {**peer.at, **METER, **layout}) as driver:
        for _ in range(2):
            assert driver.read(NOW)[0].values == pytest.approx(SHOWN)


def test_cjt188_reads_the_answer_of_a_real_meter():
    options = cjt188.Options.model_validate({"address": "/dev/x", **METER, "unit_first": True})
    values = cjt188.decode(FIELD, options, 1).values
    assert values == pytest.approx({
        "energy_gj": 0.02 * 3.6, "heat_kw": 0.0, "flow_m3_h": 0.0, "volume_m3": 10.34,
        "supply_c": 25.35, "return_c": 25.66, "operating_h": 0.0,
    })  # fmt: skip


def resum(data):
    start = len(data) - len(data.lstrip(b"\xfe"))
    return data[:-2] + bytes((sum(data[start:-2]) & 255, 0x16))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda d: resum(d[:5] + b"\x33" + d[6:]), "expected meter 00000040314132, got an answer of meter .*33"),
        (lambda d: resum(d[:12] + b"\xc1" + d[13:]), "expected control 0x81, got 0xC1 .the meter refused"),
        (lambda d: resum(d[:26] + b"\x17" + d[27:]), "byte 26: expected the code of a unit for energy_gj, got 0x17"),
        (lambda d: resum(d[:26] + b"\x77" + d[27:]), "byte 26: expected the code of a unit for energy_gj, got 0x77"),
        (lambda d: resum(d[:22] + b"\x1a" + d[23:]), "byte 22: expected decimal digits, got .*1a"),
        (lambda d: resum(d[:16] + bytes(((d[16] + 1) % 256,)) + d[17:]), "byte 16: expected request number 1, got 2"),
        (lambda d: resum(d[:4] + b"\x10" + d[5:]), "byte 4: expected type 0x20, got 0x10"),
    ],
)  # fmt: skip
def test_cjt188_answers_that_are_not_taken(change, expected):
    with cj_peer() as peer, driving("cjt188", {**peer.at, **METER}) as driver:
        peer.mangle = change
        with pytest.raises(RecordError, match=expected):
            driver.read(NOW)
        peer.mangle = lambda data: data
        assert driver.read(NOW)[0].values == pytest.approx(SHOWN)


def test_a_meter_that_changes_its_unit_is_read_by_the_unit_that_it_says():
    with cj_peer() as peer, driving("cjt188", {**peer.at, **METER}) as driver:
        first = driver.read(NOW)[0].values["energy_gj"]
        peer.mangle = lambda d: resum(d[:26] + b"\x05" + d[27:])  # the same digits, now kWh
        assert driver.read(NOW)[0].values["energy_gj"] == pytest.approx(first / 1000)


@BOTH
@pytest.mark.parametrize("kind", ["modbus", "mbus", "cjt188"])
def test_an_answer_cut_short_changed_or_missing_is_an_error_and_the_next_stands(serial, kind):
    played = {"modbus": modbus_peer, "mbus": mbus_peer, "cjt188": cj_peer}[kind]
    more = {"modbus": {"meter": 5, "registers": MAP}, "mbus": {"meter": 7}, "cjt188": METER}[kind]
    with played(serial) as peer, driving(kind, {**peer.at, **more}) as patient:
        whole = patient.read(NOW)[0].values
    with played(serial) as peer, driving(kind, {**peer.at, **more, "timeout_s": 0.5}) as driver:
        peer.mangle = telegrams(lambda data: data[:-3])
        refuses(driver, RecordError, r"bytes, got .* before the time-out")
        peer.mangle = telegrams(lambda data: data[:1] + bytes([data[1] ^ 0x40]) + data[2:])
        with pytest.raises(RecordError):
            driver.read(NOW)
        peer.mangle = lambda _: b""
        refuses(driver, DriverError, r"expected an answer, got none within 0.5 s")
        peer.mangle = lambda data: data
        driver._asker._timeout_s = PATIENCE_S
        assert driver.read(NOW)[0].values == whole


def test_one_that_is_silent_costs_its_neighbours_on_the_line_a_time_out_and_then_less():
    meters = [(7, "12345678"), (9, "99999999")]
    with (
        mbus_peer(serial=True, meters=[m for m in meters if m[0] == 7]) as peer,
        driving("mbus", {**peer.at, "meter": 9, "timeout_s": 0.5}) as silent,
        driving("mbus", {**peer.at, "meter": 7}) as sound,
    ):
        for _ in range(3):
            with pytest.raises(DriverError, match="got none within"):
                silent.read(NOW)
            assert sound.read(NOW)[0].values == pytest.approx(SHOWN)
        until(lambda: put_off(silent), "its neighbours go first")  # for 1 s, then 2, 4, …


def put_off(driver):
    """Whether it is not even asked."""
    with pytest.raises(DriverError, match=r"its neighbours go first|got none within") as caught:
        driver.read(NOW)
    return "its neighbours go first" in str(caught.value)


def test_two_that_ask_at_once_on_one_line_each_get_their_own_answer():
    meters = [(address, f"{address:08d}") for address in range(1, 6)]
    shown = {address: {**SHOWN, "supply_c": 50.0 + address} for address, _ in meters}
    got = {}

    class Bus(mbus_sim.Meter):
        def heard(self, data):
            self._show = lambda: shown[data[2]]
            return super().heard(data)

    def ask(address):
        with driving("mbus", {**peer.at, "meter": address}) as driver:
            got[address] = [driver.read(NOW)[0].values["supply_c"] for _ in range(5)]

    with closing(Peer(lambda: Bus(meters, dict), serial=True)) as peer:
        threads = [threading.Thread(target=ask, args=(address,)) for address, _ in meters]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert got == {address: [pytest.approx(50.0 + address)] * 5 for address, _ in meters}


def test_devices_of_one_port_have_one_setting():
    with mbus_peer(serial=True) as peer, driving("mbus", {**peer.at, "meter": 7}):
        other = device("mbus", {**peer.at, "meter": 8, "baud": 9600})
        with pytest.raises(DriverError, match="expected one setting for all devices of the line"):
            make(other)


def test_a_device_that_hangs_up_is_found_again():
    with modbus_peer() as peer, driving("modbus", {**peer.at, "meter": 5, "registers": MAP}) as driver:
        driver.read(NOW)
        for connection, _ in list(peer._talkers.values()):
            connection.shutdown(2)
        until(lambda: not peer._talkers)
        assert driver.read(NOW)[0].values == pytest.approx(EXPECTED)


def test_no_device_at_the_address_is_one_clear_line():
    with driving("mbus", {"address": "/dev/nowhere", "meter": 7}) as driver:
        refuses(driver, DriverError, r"/dev/nowhere: expected a serial port, got: .*No such file")
    with driving("mbus", {"address": "tcp://127.0.0.1:1", "meter": 7}) as driver:
        refuses(driver, DriverError, r"tcp://127.0.0.1:1: expected a connection, got: .*refused")


@pytest.mark.parametrize(
    ("driver", "hidden", "options", "expected"),
    [
        ("modbus", "pymodbus.pdu", {"address": "tcp://h:1", "registers": MAP}, "package pymodbus.*hearthline.modbus"),
        ("mbus", "meterbus", {"address": "tcp://h:1", "meter": 1}, "package pyMeterBus.*hearthline.mbus"),
        ("mbus", "serial", {"address": "/dev/x", "meter": 1}, "package pyserial.*hearthline.serial"),
    ],
)  # fmt: skip
def test_a_missing_package_is_one_line_that_says_what_to_install(
    monkeypatch, driver, hidden, options, expected
):
    for module in (modbus, mbus):
        module._library.cache_clear()
    monkeypatch.setitem(sys.modules, hidden, None)
    with pytest.raises(ConfigError, match=f"expected the {expected}") as caught, driving(driver, options):
        pass
    assert len(str(caught.value).splitlines()) == 1


def test_every_device_of_a_configuration_is_simulated_at_its_own_address():
    configs = [
        device("modbus", {"address": "tcp://10.0.0.1:502", "meter": 3, "registers": MAP}, name="a"),
        device("mbus", {"address": "/dev/ttyUSB0", "meter": 1}, name="b"),
        device("mbus", {"address": "/dev/ttyUSB0", "secondary": "00000002"}, name="c"),
        device("cjt188", {"address": "/dev/ttyUSB1", **METER}, name="d"),
    ]
    moved, started = simulate(EdgeConfig(device=configs))
    try:
        assert len(started) == 3
        for config in moved.device:
            with closing(make(config)) as driver:
                (reading,) = driver.read(NOW)
                assert reading.values
                assert all(isinstance(value, float) for value in reading.values.values())
    finally:
        for peer in started:
            peer.close()
