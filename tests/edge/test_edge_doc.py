"""docs/edge.md and examples/edge: files that work, against simulated devices."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from textwrap import dedent

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from edge import drivers
from edge.drivers import http_json, modbus
from edge.live import Point
from edge.sparkplug import MetricPoint
from hearthline.cli import build
from tests.support.mosquitto import Mosquitto

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "edge.md").read_text(encoding="utf-8")
EXAMPLES = sorted((ROOT / "examples" / "edge").glob("*.toml"))
DEVICES = [name for name in drivers.available() if name != "csv"]


@pytest.fixture(scope="module")
def broker():
    with Mosquitto() as running:
        yield running


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_read_from_simulated_devices(example, broker, tmp_path):
    text = example.read_text(encoding="utf-8")
    file = tmp_path / example.name
    file.write_text(
        text.replace("mqtt://127.0.0.1:1883", f"mqtt://127.0.0.1:{broker.port}").replace(
            "/var/lib/hearthline/outbox", str(tmp_path / "outbox")
        )
    )
    done = CliRunner().invoke(build(), ["edge", "--config", str(file), "--check", "--simulate", "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["broker"]["ok"]
    given = {device["id"]: device for device in tomllib.loads(text)["device"]}
    assert set(result["devices"]) == set(given)
    for name, device in result["devices"].items():
        assert device["ok"], device
        if given[name]["driver"] == "weighbridge":  # a weighing needs a truck that rolls on and stands
            assert re.fullmatch(r"shows [\d.]+ kg, (stable|in motion)", device["now"])
        else:
            assert device["readings"] >= 1
            assert wanted(given[name]) <= set(device["first"])


def wanted(device):
    options = device[device["driver"]]
    if device["driver"] == "jt808" or device["driver"] == "nmea":
        return {"lat_deg", "lon_deg"}
    return set(options.get("registers") or options.get("metrics") or options.get("values") or ["supply_c"])


def test_there_is_an_example_for_every_driver():
    used = {device["driver"] for path in EXAMPLES for device in tomllib.loads(path.read_text())["device"]}
    assert used == set(DEVICES)


@pytest.mark.parametrize("name", ["heat-meter", "weighbridge", "truck"])
def test_the_files_in_the_text_are_the_examples(name):
    blocks = re.findall(r"(?:^    [^\n]*\n|^\n)+", TEXT, re.MULTILINE)
    files = [dedent(block).strip() for block in blocks]
    assert (ROOT / "examples" / "edge" / f"{name}.toml").read_text().strip() in files


def test_every_key_is_named():
    models: list[type[BaseModel]] = [import_module(f"edge.drivers.{name}").Options for name in DEVICES]
    models += [Point, MetricPoint, modbus.Register, http_json.Value, http_json.Forecast]
    for model in models:
        for name, field in model.model_fields.items():
            if name != "text":  # only for a label beside the numbers
                assert re.search(rf"`[^`]*\b{field.alias or name}\b", TEXT), (model, name)
    for name in DEVICES:
        assert f"| `{name}` |" in TEXT


def test_a_collector_loads_nothing_of_drivers_that_it_does_not_use():
    code = (
        "import sys, edge.run, edge.drivers.csv\n"
        "from edge.drivers import available\n"
        "available()\n"
        "heavy = 'pymodbus meterbus pynmea2 serial google.protobuf http.server edge.lines edge.turns edge.turns '\n"
        "heavy += 'edge.tcp_server edge.jt808_platform edge.simulators edge.drivers.modbus edge.drivers.jt808'\n"
        "print([name for name in heavy.split() if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
