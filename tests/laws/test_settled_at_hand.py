"""Windows that were settled and are at hand still, since the registry has devices that speak less often.

What comes then asks for no restatement: they are looked at once more, whoever of these devices ever spoke.
"""

from __future__ import annotations

import json

import pytest

from hearthline.replaying import replay
from models.site_files import parse_site
from tests.acceptance.test_late_day import T0, rows, site_texts

MINUTE_MS = 60_000


def messages(hours: int, spoken: frozenset[int]) -> list[tuple[int, int, dict[str, object]]]:
    """(arrival, number of the device, payload): a sample every five minutes, some messages of five of them."""
    made = []
    for device in sorted(spoken):
        count = 12 * hours
        samples = [
            {"t": T0 + (5 * n + device + 1) * MINUTE_MS, "flow_m3_h": 7.0 + n % 3, "supply_c": 85.0, "return_c": 47.0,
             "energy_gj": round(100 + 0.1 * n + 0.01 * (n % 7), 3), "volume_m3": 1000.0 + n}
            for n in range(count)
        ]  # fmt: skip
        first, seq = 0, 0
        while first < count:
            many = 5 if (seq + device) % 3 == 0 else 1
            part = samples[first : first + many]
            first, seq = first + many, seq + 1
            made.append((part[-1]["t"] + 500 + device, device, {"boot": T0, "seq": seq, "samples": part}))
    return sorted(made, key=lambda m: m[0])


def write(path, arrivals, hours: int) -> None:
    """A plant that speaks each minute, in frames of its own, has now go on."""
    lines = [(at, f"s{device:03}", payload) for at, device, payload in arrivals]
    for n in range(60 * hours):
        sample = {"t": T0 + n * MINUTE_MS, "flow_m3_h": 20.0, "supply_c": 85.0, "return_c": 47.0}
        lines.append((sample["t"] + 500, "p", {"boot": T0, "seq": n + 1, "samples": [sample]}))
    with path.open("w") as file:
        for at, device, payload in sorted(lines, key=lambda line: line[0]):
            topic = f"hearthline/v1/r1/u1/{device}/telemetry"
            file.write(json.dumps({"topic": topic, "payload": payload, "received_ms": at}) + "\n")


@pytest.mark.parametrize("hours", [2, 7])
@pytest.mark.parametrize("seldom", [60, 3600, 6 * 3600])
def test_a_neighbour_that_comes_after_a_window_was_settled_is_counted(tmp_path, seldom, hours) -> None:
    texts = site_texts(5)
    texts["devices.csv"] = texts["devices.csv"].replace(",60\n", ",300\n")
    texts["devices.csv"] += f"m,meter,u1,n1,3,2,3,return,{seldom}\n"  # never heard of
    texts["devices.csv"] += "p,plant,u1,n1,60,2,3,return,60\n"
    site, _ = parse_site(texts)
    packed = messages(hours, frozenset({0, 1, 2}))
    one_by_one = [
        (sample["t"] + 500, device, {"boot": T0, "seq": 1000 * p["seq"] + n, "samples": [sample]})
        for _, device, p in packed
        for n, sample in enumerate(p["samples"])
    ]
    write(tmp_path / "packed.jsonl", packed, hours)
    write(tmp_path / "one_by_one.jsonl", sorted(one_by_one, key=lambda m: m[0]), hours)
    replay([tmp_path / "packed.jsonl"], site, tmp_path / "packed")
    replay([tmp_path / "one_by_one.jsonl"], site, tmp_path / "one_by_one")
    for measurement in ("device_heat", "network_heat"):
        got = rows(tmp_path / "packed", measurement, "revision")
        assert got == rows(tmp_path / "one_by_one", measurement, "revision")
