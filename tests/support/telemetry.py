"""Small generated histories and the frames that carry them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from models.frame import Frame, FrameKind, Record, telemetry_schema

T0 = 1_767_225_600_000
STREAM = "u1"
SITE_TEXTS = {
    "site.toml": (
        '[site]\nid = "s"\nname = "test"\ntimezone = "Asia/Shanghai"\nlateness_s = 900\n'
        '[[region]]\nid = "r1"\nname = "north"\n'
        '[[unit]]\nid = "u1"\nregion = "r1"\nname = "unit one"\n'
        '[[network]]\nid = "n1"\nunit = "u1"\nname = "net"\nreturn_ref_c = 45\nwindow_s = 3600\n'
    ),
    "devices.csv": (
        "device,class,unit,network,qp_m3_h,accuracy_class,dt_min_k,mounting,interval_s\n"
        "plant,plant,u1,n1,400,2,3,supply,60\n"
        "sub-1,substation,u1,n1,20,2,3,return,60\n"
        "sub-2,substation,u1,n1,20,2,3,return,60\n"
        "meter-1,meter,u1,n1,3,3,3,return,600\n"
    ),
}
CLASS_OF = {"plant": "plant", "sub-1": "substation", "sub-2": "substation", "meter-1": "meter"}
LONGEST_HELD_MS = 60_000
HELD_MS = 2 * LONGEST_HELD_MS
"""Of the three samples that a message may hold the first waits so long for the last."""
GAP_MS = 600_000  # shorter than the lateness: longer ones end in rows that only a restatement can fill
INTERVAL_MS = {"plant": 60_000, "sub-1": 60_000, "sub-2": 60_000, "meter-1": 600_000}


@dataclass(frozen=True)
class Message:
    """One telemetry message: its name and (t, values) samples."""

    device: str
    boot: int
    seq: int
    samples: tuple[tuple[int, dict[str, float]], ...]

    @property
    def newest_t(self) -> int:
        return max(t for t, _ in self.samples)


def history(
    seed: int,
    hours: float = 2.0,
    devices: Sequence[str] = tuple(CLASS_OF),
    longest_gap_ms: int = GAP_MS,
) -> list[Message]:
    """Messages of a few meters, by device in order of seq: with gaps, absent values and counters.

    A message holds no samples from both sides of a gap, and all is measured at once after one: what
    closes a window's edge comes at most `longest_gap_ms` and `HELD_MS` after it was due.
    """
    rng = np.random.default_rng(seed)
    messages = []
    for device in devices:
        interval = INTERVAL_MS[device]
        t = T0 + int(rng.integers(0, interval))
        energy, volume, seq = float(rng.uniform(100, 200)), float(rng.uniform(1000, 2000)), 0
        end = T0 + int(hours * 3_600_000)
        samples: list[tuple[int, dict[str, float]]] = []
        back_again = False
        while t < end:
            flow = float(rng.uniform(0.5, 15))
            supply, back = float(rng.uniform(86, 94)), float(rng.uniform(42, 50))
            energy += flow * 0.15 * interval / 3_600_000
            volume += flow * interval / 3_600_000
            values = {"flow_m3_h": flow, "supply_c": supply, "return_c": back}
            if device != "sub-2":  # one without counters
                values |= {"energy_gj": round(energy, 3), "volume_m3": round(volume, 2)}
            for name in [n for n in values if rng.random() < 0.05 and interval <= LONGEST_HELD_MS]:
                if not back_again:
                    del values[name]
            samples.append((t, values))
            if rng.random() < 0.6 or len(samples) >= 3 or interval > LONGEST_HELD_MS:
                seq += 1
                messages.append(Message(device, T0 - 5, seq, tuple(samples)))
                samples = []
            gap = min(interval * int(rng.integers(2, max(12, longest_gap_ms // interval))), longest_gap_ms)
            step = interval if rng.random() > 0.03 else max(interval, gap)
            back_again = step > interval
            if back_again and samples:
                seq += 1
                messages.append(Message(device, T0 - 5, seq, tuple(samples)))
                samples = []
            t += step
        if samples:
            messages.append(Message(device, T0 - 5, seq + 1, tuple(samples)))
    return messages


def with_water(messages: Sequence[Message], seed: int) -> list[Message]:
    """The plant's messages with make-up, in fits and starts, and a tank."""
    rng = np.random.default_rng(seed)
    counter, level = 500.0, 20.0
    told: list[Message] = []
    for m in messages:
        if m.device == "plant":
            samples = []
            for t, values in m.samples:
                added = 0.3 if rng.random() < 0.2 else 0.0
                counter, level = counter + added, level + added - 0.06
                more = {"makeup_m3": round(counter, 2), "tank_m3": round(level, 2), "makeup_c": 14.0}
                for name in [n for n in more if rng.random() < 0.05]:
                    del more[name]
                samples.append((t, values | more))
            told.append(replace(m, samples=tuple(samples)))
        else:
            told.append(m)
    return told


def telemetry_frames(messages: Sequence[Message]) -> list[Frame]:
    """Frames of `messages`, one a device class, in their order."""
    frames = []
    for device_class in dict.fromkeys(CLASS_OF[m.device] for m in messages):
        schema = telemetry_schema(device_class)
        rows = [
            {"device": m.device, "boot": m.boot, "seq": m.seq, "pos": pos, "t": t, **values}
            for m in messages
            if CLASS_OF[m.device] == device_class
            for pos, (t, values) in enumerate(m.samples)
        ]
        frames.append(
            Frame(FrameKind.TELEMETRY, device_class, pa.RecordBatch.from_pylist(rows, schema=schema))
        )
    return frames


def registry_frame(texts: dict[str, str] | None = None) -> Frame:
    """The registry as a frame."""
    payload = json.dumps(SITE_TEXTS if texts is None else texts)
    return Frame.events([{"device": "", "kind": "registry", "payload": payload}], FrameKind.REGISTRY)


class Log:
    """A journal in memory: appends frames with rising offsets."""

    def __init__(self, stream: str = STREAM):
        self.stream = stream
        self.records: list[Record] = []

    def append(self, frame: Frame, timestamp_ms: int) -> Record:
        record = Record(self.stream, len(self.records), timestamp_ms, frame.encode())
        self.records.append(record)
        return record
