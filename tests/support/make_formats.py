"""Make a small data directory in the formats of this version: ``python -m tests.support.make_formats``.

Run it once whenever the format of a file changes, and commit what it writes to
``tests/faults/formats/``: later versions have to open it. It says what is inside in
``expected.json``, so that a test needs no code of the version that wrote it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import sys
import tempfile
import threading
import zipfile
from pathlib import Path
from typing import Any, Final

from edge.outbox import OutboxFile
from ingest.service import Ingest
from journal.sqlite import FILE_NAME, SqliteJournal
from store.duckdb_series import SERIES_FILE, DuckdbSeries
from store.protocol import Select
from streams.runtime.local import LocalRuntime
from streams.runtime.sqlite_checkpoints import SqliteCheckpoints
from tests.support.payloads import BOOT, NOW, site, state, telemetry

__all__ = ["CHECKPOINTS_FILE", "FORMATS", "OUTBOX_FILE", "make"]

FORMATS: Final = Path(__file__).parents[1] / "faults" / "formats"
CHECKPOINTS_FILE: Final = "checkpoints.sqlite3"
OUTBOX_FILE: Final = "outbox.sqlite"
_ROUNDS: Final = 12
_STEP_MS: Final = 60_000


def make(directory: Path) -> dict[str, Any]:
    """Fill `directory` as a server and a collector that are killed would leave it; what is inside."""
    work = directory / "work"
    work.mkdir(parents=True)
    now = NOW
    journal = SqliteJournal(work / FILE_NAME, lambda: now)
    store = DuckdbSeries(work / SERIES_FILE)
    checkpoints = SqliteCheckpoints(work / CHECKPOINTS_FILE)
    ingest = Ingest(journal, site(), None, lambda: now)
    for k in range(_ROUNDS):
        now = NOW + k * _STEP_MS
        sample = {"t": now, "supply_c": 90.0 + k, "return_c": 50.0, "energy_gj": 100.0 + k / 10}
        ingest.submit([telemetry(d, k + 1, [sample]) for d in ("sub-1", "sub-2", "sub-3")])
        ingest.submit([state("sub-1", k + 2)])
    runtime = LocalRuntime(journal, store, checkpoints)
    runtime.load()
    stop = threading.Event()
    while runtime.pass_once(stop):
        pass
    runtime.report(stop)
    runtime.save()
    records = [
        [r.stream, r.offset, r.timestamp_ms, hashlib.sha256(r.frame).hexdigest()] for r in journal.scan()
    ]
    readings = store.select(Select("reading")).num_rows
    kept = {
        stream: [c.offset, {n: hashlib.sha256(d).hexdigest() for n, d in sorted(c.parts.items())}]
        for stream, c in checkpoints.load().items()
    }
    store.close()
    outbox = _outbox(work)
    for file in work.iterdir():  # while they are open: a killed process leaves its write-ahead log behind
        if not file.name.endswith(("-shm", ".lock")):
            shutil.copy(file, directory / file.name)
    journal.close()
    checkpoints.close()
    outbox.close()
    shutil.rmtree(work)
    expected = {
        "records": records,
        "registries": 3,
        "checkpoints": kept,
        "readings": readings,
        "outbox": _waiting(directory),
    }
    (directory / "expected.json").write_text(json.dumps(expected, indent=1), encoding="utf-8")
    return expected


def _outbox(work: Path) -> OutboxFile:
    file = OutboxFile(work / OUTBOX_FILE, boot_ms=BOOT, max_bytes=10**9, say=lambda _: None, pack_bytes=400)
    for device in ("sub-1", "bridge-1"):
        box = file.outbox(device)
        for k in range(8):
            box.put([(NOW + k, {"supply_c": 90.0 + k, "plate": "京A12345"})], position=f"line {k}")
        box.ack(BOOT, [(1, 3)])
    file.outbox("sub-1").thin()
    return file


def _waiting(directory: Path) -> dict[str, Any]:
    """What the copied outbox holds."""
    with tempfile.TemporaryDirectory() as scratch:
        for file in directory.glob(f"{OUTBOX_FILE}*"):
            shutil.copy(file, scratch)
        file = OutboxFile(Path(scratch) / OUTBOX_FILE, boot_ms=1, max_bytes=10**9, say=lambda _: None)
        told = {}
        for device in ("sub-1", "bridge-1"):
            box = file.outbox(device)
            messages = [[m.seq, m.t_ms, base64.b64encode(m.payload).decode()] for m in box.after(0, 1000)]
            told[device] = {"messages": messages, "position": box.position, **box.standing()._asdict()}
        file.close()
        return json.loads(json.dumps(told))


def main(name: str) -> None:
    """Write ``<name>.zip``."""
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "made"
        make(made)
        path = FORMATS / f"{name}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for file in sorted(made.iterdir()):
                archive.write(file, file.name)
        for info in zipfile.ZipFile(path).infolist():
            print(f"{info.filename:<28} {info.file_size:>9} bytes, packed {info.compress_size}")


if __name__ == "__main__":
    main(sys.argv[1])
