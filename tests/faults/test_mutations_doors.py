"""A door that cannot be found open proves nothing: each lock taken out turns its own tests red.

A copy of the project is altered in one place, and the tests that guard that place are run
on it. They pass on the copy as it is, and must fail on the altered one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.support.mosquitto import _binary

ROOT: Final = Path(__file__).parents[2]
LEFT_OUT: Final = shutil.ignore_patterns(
    ".*", "__pycache__", "hearthline-data", "dist", "build", "*.egg-info", "node_modules"
)
BROKER: Final = "tests/test_compose_mosquitto.py"
SCOPE: Final = "tests/dashboards/test_scope.py"
LEDGER: Final = "tests/streams/core/test_ledger_paths.py"
BROKER_FILES: Final = "hearthline/mosquitto_files.py"


@dataclass(frozen=True)
class Lock:
    """Something that keeps a door shut, by the text that stands for it, and the tests that guard it."""

    file: str
    text: str
    instead: str
    tests: tuple[str, ...]

    def __str__(self) -> str:
        return f"{Path(self.file).name}: {self.text.strip().splitlines()[0]}"


def _lines(file: str, *starts: str) -> list[Lock]:
    """Each line of `file` that begins like one of `starts`, taken out."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines(keepends=True)
    return [Lock(file, line, "", (BROKER,)) for line in lines if line.startswith(starts)]


GATE: Final = [
    Lock(BROKER_FILES, "Topic(region, device.unit, name, kind)", "Topic(region, device.unit, '+', kind)", (BROKER,)),
    Lock("dashboards/scope.py", "        return replace(select, units=(scope.unit,))\n", "        return select\n", (SCOPE,)),
    Lock("streams/core/deliveries.py", "        self.duplicates.add(day_ms, 1)\n        return Arrival.DUPLICATE\n",
         "        return Arrival.NEW\n", (LEDGER,)),
    Lock("ingest/routes.py", "        if (levels.region, levels.unit) != (region, device.unit):\n", "        if False:\n",
         ("tests/ingest/test_decode.py",)),
]  # fmt: skip
SOAK: Final = [
    Lock(BROKER_FILES, "TO_DEVICE: Final = (ACK, COMMAND)", "TO_DEVICE: Final = (COMMAND,)", (BROKER,)),
    Lock("dashboards/scope.py", "        and (not scope.region or site.region_of(d) == scope.region)\n", "", (SCOPE,)),
    Lock("ingest/decode.py", "        stale = batch.retained &", "        stale = ~batch.retained & batch.retained &",
         ("tests/ingest/test_decode.py",)),
    *_lines(BROKER_FILES, "require_certificate", "crlfile", "acl_file", "max_packet_size",
            "use_identity_as_username", "use_username_as_clientid"),
    *(Lock(BROKER_FILES, "FROM_DEVICE: Final = (TELEMETRY, BIRTH, STATE, DEATH)",
           f"FROM_DEVICE: Final = ({', '.join(k for k in ('TELEMETRY', 'BIRTH', 'STATE', 'DEATH') if k != kind)},)",
           (BROKER,))
      for kind in ("TELEMETRY", "BIRTH", "STATE", "DEATH")),
    Lock(BROKER_FILES, '    yield "user ingest"\n', '    yield "user ingest"\n    yield "topic readwrite #"\n', (BROKER,)),
    Lock(BROKER_FILES, '        yield f"user {name}"\n', '        yield f"user {name}"\n        yield "topic read #"\n', (BROKER,)),
]  # fmt: skip


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("altered") / "project"
    shutil.copytree(ROOT, place, ignore=LEFT_OUT)
    return place


def run(copy: Path, tests: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """The tests, on the copy and nothing else."""
    code = "import pytest, sys; sys.exit(pytest.main(sys.argv[1:]))"
    words = [
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:doctest",
        "--override-ini=addopts=--import-mode=importlib",
        *tests,
    ]
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=copy, capture_output=True, text=True, timeout=200, check=False,
        env={**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip


@pytest.fixture
def altered(copy: Path, request: pytest.FixtureRequest) -> Iterator[Lock]:
    lock: Lock = request.param
    if BROKER in lock.tests:
        _binary()  # skips, saying so, where there is no Mosquitto: a skipped test turns nothing red
    path = copy / lock.file
    before = path.read_text(encoding="utf-8")
    assert lock.text in before, f"expected {lock.text!r} in {lock.file}: say here what stands there now"
    path.write_text(before.replace(lock.text, lock.instead), encoding="utf-8")
    yield lock
    path.write_text(before, encoding="utf-8")


def _is_red(copy: Path, lock: Lock) -> None:
    done = run(copy, lock.tests)
    assert done.returncode == 1, f"{lock} can be taken out unseen:\n{done.stdout[-2000:]}{done.stderr[-500:]}"
    assert " failed" in done.stdout or " error" in done.stdout


def test_the_copy_as_it_is_stays_green(copy: Path) -> None:
    done = run(copy, tuple(sorted({name for lock in GATE for name in lock.tests})))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-500:]


@pytest.mark.parametrize("altered", GATE, ids=str, indirect=True)
def test_a_lock_taken_out_is_seen(copy: Path, altered: Lock) -> None:
    _is_red(copy, altered)


@pytest.mark.soak
@pytest.mark.parametrize("altered", SOAK, ids=str, indirect=True)
def test_every_other_lock_matters(copy: Path, altered: Lock) -> None:
    _is_red(copy, altered)
