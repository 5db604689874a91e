"""Run a case: telemetry, the site it belongs to, and the truth beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from simulator.case import Case
from simulator.coal import Coupling, heat_of, record_coal
from simulator.fleet import UnitReadings
from simulator.logistics.recording import Recorded
from simulator.telemetry import messages, write
from simulator.truth_files import Closure, TruthFiles
from simulator.unit import texts

__all__ = ["Done", "run", "write_site"]

TELEMETRY: Final = "telemetry.parquet"


@dataclass(slots=True)
class Done:
    """What a run gave.

    Attributes
    ----------
    messages : int
    closure : Closure
        How well the balances of the truth closed.
    coal : Recorded or None
        What was written of coal on the road.
    """

    messages: int
    closure: Closure
    coal: Recorded | None = None

    @property
    def closes(self) -> bool:
        """Whether mass and energy closed to 1e-6 at every step, and the books to the kilogram."""
        return self.closure.closes and (self.coal is None or self.coal.residual_kg == 0)


def write_site(case: Case, out: Path) -> None:
    """Write the case's site directory into `out`."""
    (out / "site").mkdir(parents=True, exist_ok=True)
    for name, text in (case.site.texts or texts(case.site)).items():
        (out / "site" / name).write_text(text, encoding="utf-8")


def run(case: Case, out: Path, *, progress: Callable[[float], None] = lambda _: None) -> Done:
    """Run `case` into the directory `out`.

    Writes ``telemetry.parquet`` (what `replay` reads), ``site/``, and the truth:
    ``truth_network.parquet`` and ``truth_device.parquet`` a row a step,
    ``truth_weighing.parquet``, ``truth_faults.json``; with coal on the road also
    the files of docs/simulator-logistics.md.

    Parameters
    ----------
    progress : callable
        Told the share that is done, 0 to 1.
    """
    write_site(case, out)
    truths = TruthFiles(out, case)
    if case.logistics is None:
        readings = _watched(case, truths, progress)
        count = write(out / TELEMETRY, _messages(case, readings))
        truths.close(readings.faults)
        return Done(count, truths.closure)
    readings, coupling = _watched(heat_of(case), truths, lambda _: None), Coupling(case)
    coupling.begin(readings.heat)
    readings.watchers.append(lambda r: coupling.follow(r.now_ms, r.heat))
    heat = _messages(case, readings) if case.site.networks else iter(())
    coal = record_coal(case, out, coupling, heat, progress)
    truths.close(readings.faults)
    return Done(coal.messages, truths.closure, coal)


def _watched(case: Case, truths: TruthFiles, progress: Callable[[float], None]) -> UnitReadings:
    """Readings of a case whose truth is kept."""
    readings, whole_ms = UnitReadings.of(case), case.end_ms - case.start_ms
    readings.watchers += [truths.take, lambda r: progress((r.now_ms - case.start_ms) / whole_ms)]
    return readings


def _messages(case: Case, readings: UnitReadings) -> Iterator[dict[str, Any]]:
    return messages(case.seed, case.start_ms, case.hours, readings=readings, **asdict(case.road))
