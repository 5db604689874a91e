"""docs/collector.md shows a file that works and names every key."""

from __future__ import annotations

import tomllib
from pathlib import Path
from textwrap import dedent

from edge.config import DeviceConfig, EdgeConfig, MqttConfig, OutboxConfig, PlaybackConfig
from edge.drivers.csv import Options

TEXT = (Path(__file__).parents[2] / "docs" / "collector.md").read_text(encoding="utf-8")


def test_the_example_is_a_valid_configuration():
    block = [line for line in TEXT.splitlines() if line.startswith("    ") or not line]
    config = EdgeConfig.model_validate(tomllib.loads(dedent("\n".join(block))))
    (device,) = config.device
    assert device.driver == "csv"
    assert set(Options.model_validate(device.options).columns) == {"energy_gj", "flow_m3_h", "supply_c"}


def test_every_key_is_named():
    for model in (MqttConfig, OutboxConfig, PlaybackConfig, DeviceConfig, Options):
        for name, field in model.model_fields.items():
            if name != "options":
                assert f"`{field.alias or name}`" in TEXT, name
