"""A Faust worker in a process of its own, with the chain pipeline and a sink in a file."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.support.forked import ForkedProgram
from tests.support.waiting import PATIENCE_S

__all__ = ["WorkerProcess"]

_ROOT = Path(__file__).parents[2]


class WorkerProcess:
    """Starts, kills and restarts one worker; a supervisor for exit status 75."""

    def __init__(self, kafka: str, sink: Path, log: Path, **options: object):
        self._command = [__file__, kafka, str(sink)]
        for name, value in options.items():
            self._command += [f"--{name.replace('_', '-')}", str(value)]
        self.log = log
        self.exits: list[int] = []
        self.process: ForkedProgram
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.process = ForkedProgram(self._command, cwd=_ROOT, stdout=out, stderr=out, env=os.environ)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE_S)

    def send(self, sign: int) -> None:
        self.process.send_signal(sign)

    def keep_up(self) -> None:
        """Start it again when it left by itself."""
        code = self.process.poll()
        if code is not None:
            self.exits.append(code)
            self.start()

    def stop(self) -> int:
        self.process.terminate()
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def wait_until(self, condition, timeout_s: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            self.keep_up()
            assert time.monotonic() < deadline, f"not within {timeout_s} s; the log:\n{self.tail()}"
            time.sleep(0.1)

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-6000:]


def _forget_topics(seconds: float) -> None:
    """Know of no topic's partitions at first, as when Kafka is just starting."""
    from aiokafka.cluster import ClusterMetadata

    told, known_from = ClusterMetadata.partitions_for_topic, time.monotonic() + seconds

    def partitions_for_topic(self, topic):
        return told(self, topic) if time.monotonic() >= known_from else None

    ClusterMetadata.partitions_for_topic = partitions_for_topic


def main() -> None:
    """Be the worker that the words tell of."""
    from streams.runtime.faust_partition import Pipelines
    from streams.runtime.faust_program import run_worker
    from streams.runtime.faust_settings import WorkerSettings
    from tests.support.chain_pipeline import ChainPipeline, FileSink, SinkAwayError

    parser = argparse.ArgumentParser()
    parser.add_argument("kafka")
    parser.add_argument("sink", type=Path)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--checkpoint-s", type=float, default=1.0)
    parser.add_argument("--flush-s", type=float, default=0.2)
    parser.add_argument("--delay-s", type=float, default=0.0)
    parser.add_argument("--session-s", type=float, default=6.0)
    parser.add_argument("--rebalance-s", type=float, default=10.0)
    parser.add_argument("--stop-s", type=float, default=20.0)
    parser.add_argument("--topics-unknown-s", type=float, default=0.0)
    parser.add_argument("--loglevel", default="WARNING")
    options = parser.parse_args()
    settings = WorkerSettings(
        options.kafka,
        partitions=options.partitions,
        checkpoint_s=options.checkpoint_s,
        session_s=options.session_s,
        rebalance_s=options.rebalance_s,
        stop_s=options.stop_s,
        flush_s=options.flush_s,
    )
    _forget_topics(options.topics_unknown_s)
    sink = FileSink(options.sink, options.delay_s)

    class Stumbling(ChainPipeline):
        """One that cannot take in what is odd."""

        def steps(self, record):
            if record.frame == b"odd":
                raise KeyError("of a test")
            yield from super().steps(record)

    pipelines = Pipelines(Stumbling, Stumbling.restore)
    sys.exit(run_worker(settings, pipelines, sink, unavailable=(SinkAwayError,), loglevel=options.loglevel))
