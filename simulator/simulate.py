"""Run a case: telemetry, the site it belongs to, and the truth beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from edge.driver import Reading
from simulator.case import Case
from simulator.faults import Faults
from simulator.fleet import UnitReadings
from simulator.telemetry import messages, write
from simulator.truth_files import Closure, TruthFiles
from simulator.unit import texts

__all__ = ["Done", "Watched", "run", "write_site"]

TELEMETRY: Final = "telemetry.parquet"


@dataclass(slots=True)
class Done:
    """What a run gave.

    Attributes
    ----------
    messages : int
    closure : Closure
        How well the balances of the truth closed.
    """

    messages: int
    closure: Closure


class Watched(UnitReadings):
    """Readings of a case whose truth is written down.

    Parameters
    ----------
    out : Path
        Directory of the truth.
    progress : callable
        Told the share that is done, 0 to 1.
    """

    def __init__(self, case: Case, out: Path, progress: Callable[[float], None] = lambda _: None) -> None:
        faults = Faults(case.faults, case.seed, clocks=case.clocks, interval_s=case.interval_s)
        super().__init__(
            case.site, case.seed, case.start_ms,
            interval_s=case.interval_s, faults=faults, weather=case.weather,
        )  # fmt: skip
        self.truths = TruthFiles(out, case)
        self._case, self._progress = case, progress

    def step(self) -> list[tuple[str, Reading]]:
        """One interval further."""
        rows = super().step()
        for heat in self.heat:
            if heat.last is not None:
                self.truths.take(heat, heat.last, self.faults.taken_kg_s(heat.truth.network.id))
        self.truths.weighed(self.weighings)
        self.truths.closure.steps += 1
        self._progress((self.now_ms - self._case.start_ms) / (self._case.hours * 3_600_000))
        return rows

    def close(self) -> Closure:
        """Finish the truth's files."""
        self.truths.close(self.faults)
        return self.truths.closure


def write_site(case: Case, out: Path) -> None:
    """Write the case's site directory into `out`."""
    (out / "site").mkdir(parents=True, exist_ok=True)
    for name, text in (case.site.texts or texts(case.site)).items():
        (out / "site" / name).write_text(text, encoding="utf-8")


def run(case: Case, out: Path, *, progress: Callable[[float], None] = lambda _: None) -> Done:
    """Run `case` into the directory `out`.

    Writes ``telemetry.parquet`` (what `replay` reads), ``site/``, and the truth:
    ``truth_network.parquet`` and ``truth_device.parquet`` a row a step,
    ``truth_weighing.parquet``, ``truth_faults.json``.

    Parameters
    ----------
    progress : callable
        Told the share that is done, 0 to 1.
    """
    write_site(case, out)
    readings = Watched(case, out, progress)
    rows = messages(case.seed, case.start_ms, case.hours, readings=readings, **asdict(case.road))
    return Done(write(out / TELEMETRY, rows), readings.close())
