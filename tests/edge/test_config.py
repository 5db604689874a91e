from __future__ import annotations

import pytest

from edge.config import ConfigError, load
from edge.drivers import available
from edge.run import make_drivers

GOOD = """
[mqtt]
url = "mqtt://127.0.0.1:1883"
[[device]]
id = "m1"
region = "r"
unit = "u"
class = "meter"
interval_s = 10
driver = "csv"
[device.csv]
path = "m1.csv"
time_column = "t"
time_format = "unix_s"
[device.csv.columns]
supply_c = "a"
"""


def write(tmp_path, text):
    path = tmp_path / "edge.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_paths_are_relative_to_the_file(tmp_path):
    (tmp_path / "m1.csv").write_text("t,a\n1,2\n")
    config = load(write(tmp_path, GOOD + '[outbox]\ndir = "box"\n'))
    assert config.outbox.dir == tmp_path / "box"
    ((device, driver),) = make_drivers(config, "edge.toml")
    assert (device.id, device.device_class, device.interval_s) == ("m1", "meter", 10)
    assert len(driver.read(0)) == 1


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("interval_s = 10", 'interval_s = "ten"', r"edge.toml: \[\[device\]\] number 1 \(m1\): interval_s: expected .*number.*, got 'ten'"),
        ("interval_s = 10", "interval_s = 0", r"interval_s: expected greater than 0, got 0"),
        ('id = "m1"', 'id = "m 1"', r"\(m 1\): id: expected 1 to 64 of A-Z a-z 0-9 _ \. -, got 'm 1'"),
        ('unit = "u"\n', "", r"\(m1\): unit: expected a value"),
        ("interval_s = 10", "interval_s = 10\ncolour = 1", r"\(m1\): colour: expected a known field or table, got 1"),
        ('"mqtt://127.0.0.1:1883"', '"http://x"', r"\[mqtt\]: url: expected mqtt://HOST.*, got 'http://x'"),
        ('"mqtt://127.0.0.1:1883"', '"mqtt://u:secret@x"', r"\[mqtt\]: url: expected no password in the URL"),
        ("[mqtt]", '[mqtt]\npassword = "x"', r"\[mqtt\]: password: expected none in this file"),
        ("[mqtt]", '[mqtt]\ncert_file = "x"', r"expected cert_file and key_file together"),
        ('"mqtt://127.0.0.1:1883"', '"mqtt://10.0.0.5"', r"mqtt: url: expected mqtts:// for a broker that is not on loopback, got mqtt://10"),
        ('"mqtt://127.0.0.1:1883"', '"mqtts://broker.example"', r"mqtt: expected cert_file and key_file \(or a username\)"),
        ("[mqtt]", 'outbox = "x"\n[mqtt]', r"edge.toml: outbox: expected a table, got 'x'"),
        ("[mqtt]", "[mqtt", r"edge.toml: expected TOML, got: .*line 2"),
        ("[mqtt]", "[outbox]\nmax_mb = 0\n[mqtt]", r"\[outbox\]: max_mb: expected greater than or equal to 1, got 0"),
    ],
)  # fmt: skip
def test_faults_name_file_table_field_expected_and_came(tmp_path, old, new, expected):
    assert old in GOOD
    with pytest.raises(ConfigError, match=expected):
        load(write(tmp_path, GOOD.replace(old, new, 1)))


def test_each_device_shows_a_certificate_of_its_own(tmp_path):
    mqtt = (
        'url = "mqtts://10.0.0.5"\nca_file = "ca.pem"\ncert_file = "{device}.pem"\nkey_file = "{device}.key"'
    )
    other = GOOD[GOOD.index("[[device]]") :].replace('"m1"', '"m2"')
    text = GOOD.replace('url = "mqtt://127.0.0.1:1883"', mqtt) + other
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text)).check_secrets()
    first, second = str(caught.value).splitlines()
    assert f"{tmp_path}/m1.pem" in first
    assert f"{tmp_path}/m2.pem" in second
    with pytest.raises(ConfigError, match=r"cert_file: expected \{device\} in it, because each of 2 devices"):
        load(write(tmp_path, text.replace("{device}", "both")))


def test_every_fault_is_told_at_once(tmp_path):
    text = GOOD.replace("interval_s = 10", "interval_s = -1").replace('class = "meter"\n', "")
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text))
    assert len(str(caught.value).splitlines()) == 2


def test_events_are_all_sent(tmp_path):
    text = GOOD.replace('class = "meter"', 'class = "weighbridge"') + "[device.report]\nheartbeat_s = 60\n"
    with pytest.raises(ConfigError, match=r"\(m1\): report: expected none for the class weighbridge"):
        load(write(tmp_path, text))


def test_a_device_named_twice(tmp_path):
    with pytest.raises(ConfigError, match="expected each device once, got 'm1' twice"):
        load(write(tmp_path, GOOD + GOOD[GOOD.index("[[device]]") :]))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('driver = "csv"', 'driver = "modbuss"', r"\[\[device\]\] number 1 \(m1\): driver: expected one of .*csv.*, got 'modbuss'"),
        ('time_column = "t"', 'time_column = "when"', r"\(m1\): .*m1.csv:1: expected one column 'when', got 0"),
        ('path = "m1.csv"', 'path = "none.csv"', r"\(m1\): path: expected a readable CSV file"),
        ('supply_c = "a"', 'supply_c = { column = "a", unit = "bar" }', r"\(m1\): csv: .*expected one of .*K.* for supply_c, got 'bar'"),
    ],
)  # fmt: skip
def test_driver_faults_name_the_device(tmp_path, old, new, expected):
    (tmp_path / "m1.csv").write_text("t,a\n1,2\n")
    text = GOOD.replace(old, new)
    if "modbuss" in new:
        text = text[: text.index("[device.csv]")]
    with pytest.raises(ConfigError, match=expected):
        make_drivers(load(write(tmp_path, text)), "edge.toml")


def test_the_password_comes_from_the_environment_or_a_file(tmp_path, monkeypatch):
    monkeypatch.delenv("HEARTHLINE_MQTT_PASSWORD", raising=False)
    (tmp_path / "secret").write_text("of the file\n")
    config = load(write(tmp_path, GOOD.replace("[mqtt]", '[mqtt]\nusername = "u"\npassword_file = "secret"')))
    assert config.mqtt.password() == "of the file"
    monkeypatch.setenv("HEARTHLINE_MQTT_PASSWORD", "of the environment")
    assert config.mqtt.password() == "of the environment"


def test_an_unknown_driver_is_told_which_there_are_whatever_else_is_wrong(tmp_path):
    path = tmp_path / "c.toml"
    device = '[[device]]\nid = "m1"\nregion = "r1"\nunit = "u1"\nclass = "meter"\ninterval_s = 10\n'
    path.write_text(f'{device}driver = "modbuss"\n[device.modbus]\nport = 502\n')
    with pytest.raises(ConfigError) as error:
        load(path)
    lines = str(error.value).splitlines()
    known = ", ".join(available())
    assert lines[0] == f"{path}: [[device]] number 1 (m1): driver: expected one of {known}, got 'modbuss'"
    assert "modbus: expected a known field or table" in lines[1]
