"""A register that is garbled once, at the edge of a window, of a meter that tells flow and temperatures, too."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hearthline.replaying import replay
from models.counter import Step, counter_steps, window_increase
from models.site_files import parse_site
from tests.acceptance.test_late_day import T0, rows, site_texts

HOUR_MS = 3_600_000
GJ_H = 0.5


@pytest.mark.parametrize("interval_s", [60, 300, 900, 3600])
@pytest.mark.parametrize("at", [-1, 0, 1])
def test_what_was_integrated_while_it_was_out_of_line_is_not_counted_again(tmp_path, interval_s, at) -> None:
    texts = site_texts(1)
    texts["devices.csv"] = texts["devices.csv"].replace(",60\n", f",{interval_s}\n")
    step_ms = 1000 * interval_s
    garbled_ms = T0 + 4 * HOUR_MS + at * step_ms
    with (tmp_path / "a.jsonl").open("w") as file:
        for n in range(8 * HOUR_MS // step_ms + 1):
            t = T0 + n * step_ms
            energy = 50.0 + GJ_H * (t - T0) / HOUR_MS
            sample = {"t": t, "flow_m3_h": GJ_H / 0.15766, "supply_c": 85.0, "return_c": 47.0}
            sample["energy_gj"] = round(10 * energy if t == garbled_ms else energy, 6)
            line = {
                "topic": "hearthline/v1/r1/u1/s000/telemetry",
                "payload": {"boot": T0, "seq": n + 1, "samples": [sample]},
                "received_ms": t + 500,
            }
            file.write(json.dumps(line) + "\n")
    replay([tmp_path / "a.jsonl"], parse_site(texts)[0], tmp_path / "out")
    heat = {
        start: r["heat_gj"]
        for (_, start), r in rows(tmp_path / "out", "device_heat").items()
        if T0 <= start < T0 + 8 * HOUR_MS
    }
    assert len(heat) == 32
    assert sum(heat.values()) == pytest.approx(8 * GJ_H, rel=0.005)
    # A step of a minute is less than what a window may lack: what it lost is with what leads back.
    share = 0.07 if interval_s == 60 else 0.005
    assert list(heat.values()) == pytest.approx([GJ_H / 4] * 32, rel=share)


def test_a_window_says_what_share_of_it_leads_back() -> None:
    t = np.arange(5) * HOUR_MS
    group, value = np.zeros(5, np.int64), np.array([50.0, 50.5, 510.0, 51.5, 52.0])
    assert Step(counter_steps(group, t, value, max_rate_per_h=5.0).kind[3]) is Step.RESUMED
    for start_h, end_h, share in ((1.0, 2.0, 0.0), (2.0, 3.0, 1.0), (2.5, 3.5, 0.5), (3.0, 4.0, 0.0)):
        edges = int(start_h * HOUR_MS), int(end_h * HOUR_MS)
        counted = window_increase(group, t, value, *edges, 1, max_rate_per_h=5.0)
        assert counted.led_back.tolist() == [share]
