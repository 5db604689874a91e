"""Two workers against one where one is too slow: ``python -m benchmarks worker_pair``.

Two cores carry what one worker can take, so each worker here is held to a share of its time: it is stopped
and let go on ten times a second. What comes out is whether two share the work, and whether anything that they
have in common (the group, Kafka, checkpoints) stands in their way; it says nothing of what a core carries.
Frames are put into Kafka once every worker has its partitions.
"""

from __future__ import annotations

import argparse
import signal
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, Self

from benchmarks.machine import machine
from benchmarks.workers import Workers, append, framed, kafka_in, recorded, register, until
from journal.kafka import BEGINNING_MS
from models.frame import Frame
from tests.support.real_kafka import RealKafka
from tests.support.system import Program

_TURN_S: Final = 0.1


class Throttle:
    """Holds a program to a share of its time while this is entered."""

    def __init__(self, program: Program, share: float):
        self._program, self._share = program, share
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._end.is_set():
            self._send(signal.SIGSTOP)
            self._end.wait(_TURN_S * (1 - self._share))
            self._send(signal.SIGCONT)
            time.sleep(_TURN_S * self._share)

    def _send(self, number: int) -> None:
        with suppress(ProcessLookupError):
            self._program.process.send_signal(number)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


def timed(
    home: Path,
    kafka: RealKafka,
    frames: list[tuple[str, bytes, int]],
    streams: list[str],
    count: int,
    share: float,
) -> tuple[float, list[float]]:
    """Seconds from the first frame in Kafka to the last checkpoint, and each worker's CPU meanwhile. [s]"""
    workers = Workers(home, kafka, f"{count}-workers")
    with ExitStack() as stack:
        stack.callback(workers.kill)
        for number in range(count):
            workers.start(str(number), "--duckdb", home / f"{count}-{number}.db")
        beats = [(stream, Frame.heartbeat().encode(), BEGINNING_MS) for stream in streams]
        until(lambda: all_taken(workers, kafka, beats))
        workers.done()
        for program in workers.programs:
            stack.enter_context(Throttle(program, share))
        before = workers.each_cpu_s()
        began = time.monotonic()
        append(kafka, frames)
        workers.done()
        seconds = time.monotonic() - began
        return seconds, [after - b for after, b in zip(workers.each_cpu_s(), before, strict=True)]


def all_taken(workers: Workers, kafka: RealKafka, beats: list[tuple[str, bytes, int]]) -> bool:
    """Whether every worker has taken a record in; gives all partitions another one when not."""
    if all("goes on after" in program.err for program in workers.programs):
        return True
    append(kafka, beats)
    time.sleep(1.0)
    return False


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=40, help="samples of each of 1,600 devices")
    parser.add_argument("--share", type=float, default=0.25, help="of its time that a worker is let run")
    options = parser.parse_args()
    print(f"machine: {machine()}", flush=True)
    units, devices = 16, 100
    samples = units * devices * options.steps
    took: dict[int, float] = {}
    for count in (1, 2):
        with ExitStack() as stack:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            site, recording = recorded(home, units, devices, options.steps)
            kafka = kafka_in(home, stack)
            streams = register(kafka, site)
            frames = framed(site, recording)
            took[count], cpu = timed(home, kafka, frames, streams, count, options.share)
        each = " and ".join(f"{seconds:.1f}" for seconds in cpu)
        print(
            f"{count} held to {options.share:.0%} of its time: {samples:,} samples in {took[count]:.1f} s:"
            f" {samples / took[count]:,.0f} samples/s; {each} s of CPU,"
            f" {sum(cpu) / samples * 1e6:.1f} µs a sample",
            flush=True,
        )
    print(f"two carry {took[1] / took[2]:.2f} times what one carries")


if __name__ == "__main__":
    main()
