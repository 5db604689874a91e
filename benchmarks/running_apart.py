"""The distributed mode as processes of their own: a Kafka, ingest, one worker, the desk of alerts.

Worker and desk keep their results in a DuckDB file each, so that what is measured is the way of a message
and not a time series store beside it on the same cores.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

from streams.runtime.faust_settings import WorkerSettings
from streams.runtime.faust_topics import create_topics
from tests.support.mosquitto import Mosquitto
from tests.support.real_kafka import RealKafka
from tests.support.system import Program, write_site

__all__ = ["running_apart"]

_READY_S: Final = 120.0


@contextmanager
def running_apart(texts: Mapping[str, str], broker: Mosquitto) -> Iterator[dict[str, int]]:
    """Everything on a site of `texts`, fed by `broker`; gives the process ids by name."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        site = write_site(home / "site", texts)
        (home / "kafka").mkdir()
        kafka = RealKafka(home / "kafka")
        stack.callback(kafka.close)
        create_topics(WorkerSettings(kafka.bootstrap, partitions=kafka.partitions))
        words: dict[str, list[object]] = {
            "ingest": ["--mqtt", broker.url],
            "worker": ["--partitions", kafka.partitions, "--duckdb", home / "results.duckdb"],
            "alerts": ["--duckdb", home / "alarms.duckdb", "--data-dir", home / "desk", "--port", 0],
        }
        programs = {
            name: stack.enter_context(
                Program(home / name, name, "--site", site, "--kafka", kafka.bootstrap, *more)
            )
            for name, more in words.items()
        }
        _until_ready(programs)
        yield {"kafka": kafka.pid, **{name: program.process.pid for name, program in programs.items()}}


def _until_ready(programs: Mapping[str, Program]) -> None:
    """Wait until messages are heard, frames are taken and the desk says that all is well."""
    ready: dict[str, Callable[[], bool]] = {
        "ingest": lambda: "ok:" in programs["ingest"].out,
        "worker": lambda: "goes on after" in programs["worker"].err,
        "alerts": lambda: _answers(programs["alerts"].out),
    }
    end = time.monotonic() + _READY_S
    for name, condition in ready.items():
        while not condition():
            program = programs[name]
            if not program.running or time.monotonic() > end:
                raise SystemExit(f"expected {name} ready within {_READY_S:.0f} s, got: {program.err[-500:]}")
            time.sleep(0.1)


def _answers(said: str) -> bool:
    """Whether the board that the desk announced says that it is ready."""
    url = next((line.split()[1] for line in said.splitlines() if line.startswith("board ")), None)
    try:
        return url is not None and bool(urlopen(f"{url}/ready", timeout=5).status == 200)
    except URLError:
        return False
