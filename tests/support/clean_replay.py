"""What nothing disturbed: results computed again, by programs of their own, from a journal or from bare samples."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from ingest.clock import wall_clock
from journal.export import places_of, registry_texts
from journal.sqlite import FILE_NAME, SqliteJournal
from models.frame import Frame
from tests.support.system import run

__all__ = ["Row", "replay_generated", "replay_journal"]

Row = dict[str, Any]
_PLACES: Final = "places.json"


def replay_journal(data_dir: Path, scratch: Path) -> dict[str, list[Row]]:
    """What a clean replay of the exported journal gives, by measurement; leaves the site for the other."""
    scratch.mkdir(parents=True, exist_ok=True)
    recording = scratch / "journal.jsonl.zst"
    run("journal", "export", "--data-dir", data_dir, "--out", recording)
    _write_site(data_dir, scratch)
    return _replay(recording, scratch)


def replay_generated(
    generated: Mapping[str, Sequence[tuple[int, Mapping[str, float | str]]]], scratch: Path
) -> dict[str, list[Row]]:
    """What a replay of samples gives that came one by one and in the order of time."""
    places = json.loads((scratch / _PLACES).read_bytes())
    recording = scratch / "generated.jsonl"
    numbers: Counter[str] = Counter()
    flat = sorted(
        (t, device, values) for device, samples in generated.items() for t, values in _once(samples)
    )
    with recording.open("w", encoding="utf-8") as file:
        for t, device, values in flat:
            numbers[device] += 1
            region, unit = places[device]
            payload = {"boot": 1, "seq": numbers[device], "samples": [{"t": t, **dict(values)}]}
            topic = f"hearthline/v1/{region}/{unit}/{device}/telemetry"
            file.write(json.dumps({"topic": topic, "payload": payload}) + "\n")
    return _replay(recording, scratch)


def _once(
    samples: Sequence[tuple[int, Mapping[str, float | str]]],
) -> list[tuple[int, tuple[tuple[str, float | str], ...]]]:
    return sorted({(t, tuple(sorted(values.items()))) for t, values in samples})


def _replay(recording: Path, scratch: Path) -> dict[str, list[Row]]:
    out = scratch / f"of {recording.name}"
    run("replay", recording, "--site", scratch / "site", "--out", out)
    return {path.stem: pq.read_table(path).to_pylist() for path in out.glob("*.parquet")}


def _write_site(data_dir: Path, scratch: Path) -> None:
    """The site's files as the journal holds them, and where each device stands."""
    journal = SqliteJournal(data_dir / FILE_NAME, wall_clock)
    try:
        texts = registry_texts(Frame.decode(journal.registries()[-1].frame))
        places = places_of(journal)
    finally:
        journal.close()
    (scratch / "site").mkdir(exist_ok=True)
    for name, text in texts.items():
        (scratch / "site" / name).write_text(text, encoding="utf-8")
    (scratch / _PLACES).write_text(json.dumps(places), encoding="utf-8")
