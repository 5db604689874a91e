"""A small fleet as recordings: a site, a CSV a device, and the collector that plays them live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.support.oracle import Generated
from tests.support.system import write_site

__all__ = ["RecordedFleet", "record_fleet"]

T0 = 1_767_225_600_000
INTERVAL_MS = 60_000
_CLASSES = {
    "plant-1": "plant", "sub-1": "substation", "sub-2": "substation", "sub-3": "substation", "meter-1": "meter",
    "meter-2": "meter",
}  # fmt: skip
# Registered as what it is not: every message of it is refused and kept as a dead letter.
_MISLABELLED = {"yard-1": "yard"}
_FIELDS = ("flow_m3_h", "supply_c", "return_c", "energy_gj", "volume_m3")


@dataclass(frozen=True)
class RecordedFleet:
    """What was recorded, and where.

    Attributes
    ----------
    home, site : Path
    generated : Generated
    """

    home: Path
    site: Path
    generated: Generated

    @property
    def samples(self) -> int:
        """How many samples the recordings hold."""
        return sum(map(len, self.generated.values()))

    def collector(
        self, url: str, pace: float | str, *, mqtt: Mapping[str, object] | None = None, **options: object
    ) -> Path:
        """The collector's configuration file for the broker at `url`.

        `mqtt` goes to the broker's table, `options` go to every device.
        """
        given = f'"{pace}"' if isinstance(pace, str) else repr(float(pace))
        more = "".join(f"{name} = {value}\n" for name, value in options.items())
        broker = "".join(f"{name} = {value}\n" for name, value in (mqtt or {}).items())
        tables = [f'[mqtt]\nurl = "{url}"\n{broker}[outbox]\ndir = "outbox"\n']
        for device in self.generated:
            columns = "".join(f'{name} = "{name}"\n' for name in _FIELDS)
            tables.append(
                f'[[device]]\nid = "{device}"\nregion = "r1"\nunit = "u1"\nclass = "{_CLASSES.get(device, "meter")}"\n'
                f'interval_s = {INTERVAL_MS // 1000}\ndriver = "csv"\n{more}'
                f'[device.csv]\npath = "{device}.csv"\ntime_column = "t"\ntime_format = "unix_ms"\npace = {given}\n'
                f"[device.csv.columns]\n{columns}"
            )
        path = self.home / "collector.toml"
        path.write_text("".join(tables), encoding="utf-8")
        return path


def record_fleet(
    home: Path, seed: int, hours: float, lateness_s: int, *, repeated: float = 0.01
) -> RecordedFleet:
    """Make a fleet's recordings of so many hours at one sample a minute, with gaps, blanks and repeated rows."""
    rng = np.random.default_rng(seed)
    texts = {
        "site.toml": (
            f'[site]\nid = "s"\nname = "test"\ntimezone = "Asia/Shanghai"\nlateness_s = {lateness_s}\n'
            '[[region]]\nid = "r1"\nname = "north"\n[[unit]]\nid = "u1"\nregion = "r1"\nname = "unit one"\n'
            '[[network]]\nid = "n1"\nunit = "u1"\nname = "net"\nreturn_ref_c = 45\nwindow_s = 3600\n'
        ),
        "devices.csv": "device,class,unit,network,qp_m3_h,accuracy_class,dt_min_k,mounting,interval_s\n"
        + "".join(f"{d},{c},u1,n1,40,2,3,return,{INTERVAL_MS // 1000}\n" for d, c in _CLASSES.items())
        + "".join(f"{d},{c},u1,,,,,,\n" for d, c in _MISLABELLED.items()),
    }
    site = write_site(home / "site", texts)
    generated = {
        device: _record(home / f"{device}.csv", rng, hours, repeated) for device in (*_CLASSES, *_MISLABELLED)
    }
    return RecordedFleet(home, site, generated)


def _record(
    path: Path, rng: np.random.Generator, hours: float, repeated: float
) -> list[tuple[int, dict[str, float]]]:
    """Write one device's file; the samples as a collector reads them."""
    t = T0 + int(rng.integers(0, INTERVAL_MS))
    end = T0 + int(hours * 3_600_000)
    energy, volume = rng.uniform(100, 200), rng.uniform(1000, 2000)
    lines: list[str] = []
    samples: list[tuple[int, dict[str, float]]] = []
    while t < end:
        flow = rng.uniform(0.5, 15)
        energy, volume = energy + flow * 0.0025, volume + flow / 60
        cells = [f"{v:.3f}" for v in (flow, rng.uniform(80, 95), rng.uniform(40, 55), energy, volume)]
        cells = [cell if rng.random() > 0.02 else "" for cell in cells]
        values = {name: float(cell) for name, cell in zip(_FIELDS, cells, strict=True) if cell}
        if values:
            times = 2 if rng.random() < repeated else 1
            lines += times * [f"{t},{','.join(cells)}\n"]
            samples += times * [(t, values)]
        t += INTERVAL_MS * (1 if rng.random() > 0.02 else int(rng.integers(2, 5)))
    path.write_text(f"t,{','.join(_FIELDS)}\n{''.join(lines)}", encoding="utf-8")
    return samples
