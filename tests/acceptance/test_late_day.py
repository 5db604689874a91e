"""A day of many devices, a fifth held back from a minute to 30 hours, some sent twice: as if it had been in order.

The gate has 10 of them, the soak 100.
"""

from __future__ import annotations

import json
import random

import pyarrow.parquet as pq
import pytest

from hearthline.replaying import replay
from models.site_files import parse_site

T0 = 1_767_225_600_000
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
SEED = 20260
HELD, RESENT = 0.2, 0.02


def site_texts(devices: int) -> dict[str, str]:
    rows = "\n".join(f"s{n:03},substation,u1,n1,20,2,3,return,60" for n in range(devices))
    return {
        "site.toml": (
            '[site]\nid = "s"\nname = "late"\ntimezone = "Asia/Shanghai"\n'
            '[[region]]\nid = "r1"\nname = "r"\n[[unit]]\nid = "u1"\nregion = "r1"\nname = "u"\n'
            '[[network]]\nid = "n1"\nunit = "u1"\nname = "n"\nreturn_ref_c = 45\n'
        ),
        "devices.csv": f"device,class,unit,network,qp_m3_h,accuracy_class,dt_min_k,mounting,interval_s\n{rows}\n",
    }


def messages(rng: random.Random, devices: int) -> list[tuple[int, str, str]]:
    """(newest t, device, payload) of a day with a sample each minute, one to five a message."""
    made = []
    for n in range(devices):
        t, seq = T0 + rng.randrange(MINUTE_MS), 0
        energy, volume = rng.uniform(100, 900), rng.uniform(1e3, 9e3)
        while t < T0 + 24 * HOUR_MS:
            samples = []
            for _ in range(rng.randint(1, 5)):
                flow, supply = rng.uniform(6, 9), rng.uniform(84, 86)
                energy += flow * 0.16 / 60
                volume += flow / 60
                samples.append({
                    "t": t, "flow_m3_h": round(flow, 3), "supply_c": round(supply, 2), "return_c": round(supply - 38, 2),
                    "energy_gj": round(energy, 3), "volume_m3": round(volume, 2),
                })  # fmt: skip
                t += MINUTE_MS
            seq += 1
            made.append(
                (samples[-1]["t"], f"s{n:03}", json.dumps({"boot": T0 - 1, "seq": seq, "samples": samples}))
            )
    return made


def write(path, arrivals: list[tuple[int, str, str]]) -> None:
    with path.open("w") as file:
        for at, device, payload in sorted(arrivals, key=lambda a: a[0]):
            line = {
                "topic": f"hearthline/v1/r1/u1/{device}/telemetry",
                "payload": json.loads(payload),
                "received_ms": at,
            }
            file.write(json.dumps(line) + "\n")


def rows(out, measurement: str, *without: str) -> dict[tuple[str, int], dict]:
    table = pq.read_table(out / f"{measurement}.parquet")
    table = table.drop_columns([c for c in without if c in table.column_names])
    return {(r["key"], r["window_start"]): r for r in table.to_pylist()}


@pytest.mark.parametrize("devices", [10, pytest.param(100, marks=pytest.mark.soak)])
def test_a_day_that_came_late_shuffled_and_twice_equals_the_sorted_day(tmp_path, devices) -> None:
    rng = random.Random(SEED)
    made = messages(rng, devices)
    held = []
    for at, device, payload in made:
        late_ms = rng.randint(MINUTE_MS, 30 * HOUR_MS) if rng.random() < HELD else rng.randint(100, 2000)
        held.append((at + late_ms, device, payload))
        if rng.random() < RESENT:
            held.append((at + rng.randint(MINUTE_MS, 30 * HOUR_MS), device, payload))
    write(tmp_path / "sorted.jsonl", [(at + 500, device, payload) for at, device, payload in made])
    write(tmp_path / "late.jsonl", held)
    site, _ = parse_site(site_texts(devices))
    clean = replay([tmp_path / "sorted.jsonl"], site, tmp_path / "clean")
    late = replay([tmp_path / "late.jsonl"], site, tmp_path / "late")
    print(f"{len(made)} messages, {len(held)} with those sent again: sorted {clean.seconds} s, late {late.seconds} s,"
          f" {late.rows['restatement']} rows restated")  # fmt: skip
    assert late.rows["restatement"] > 10 * devices
    assert "restatement" not in clean.rows
    for measurement, without in (("device_heat", ("revision",)), ("reading", ("offset", "received_ms"))):
        expected = rows(tmp_path / "clean", measurement, *without)
        got = rows(tmp_path / "late", measurement, *without)
        # Its now went on for 30 hours: silent devices have windows then too.
        assert {k: r for k, r in got.items() if k[1] < T0 + 24 * HOUR_MS + 15 * MINUTE_MS} == expected
    ledger = list(rows(tmp_path / "late", "ledger").values())
    last = {r["key"]: r for r in sorted(ledger, key=lambda r: r["window_start"])}
    assert sum(r["stored"] for r in last.values()) == len(made)
    assert sum(r["duplicate"] for r in last.values()) == len(held) - len(made)
    assert all(r["unaccounted"] == 0 for r in last.values())
