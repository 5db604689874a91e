"""Messages/s of the whole server and of a bare subscriber: ``python -m benchmarks end_to_end``.

Starts Mosquitto and `hearthline up` (journal, all operators, DuckDB, board) as
processes of their own and loads them at QoS 1: from the first packet to the
last acknowledgement to a device. Then the same load, through the same broker,
into a paho client that only counts what comes; and so on in turn. CPU seconds
stand beside, process by process: what the machine does besides does not count in them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.figures import Figure
from benchmarks.load import Load, Loaded, site_texts
from benchmarks.machine import machine
from benchmarks.running import mosquitto, running

__all__ = ["Compared", "compare", "figures"]

GOAL = 20_000
GOAL_RATIO = 0.65
MESSAGES = 200_000
DEVICES = 3_000


@dataclass(frozen=True, slots=True)
class Compared:
    """The server and the bare subscriber in the same run, round by round.

    Attributes
    ----------
    server, bare : list of Loaded
    readable_s : float
        Until the last reading could be queried, after the last acknowledgement of the last round. [s]
    """

    server: list[Loaded]
    bare: list[Loaded]
    readable_s: float

    @property
    def rate(self) -> float:
        """Messages/s of the server, of the median round."""
        return median(loaded.rate for loaded in self.server)

    @property
    def ratio(self) -> float:
        """What the server takes of what the bare subscriber takes, of the median round."""
        return median(ours.rate / bare.rate for ours, bare in zip(self.server, self.bare, strict=True))


def count_only(load: Load) -> None:
    """A paho client at QoS 1 that acknowledges as it comes and only counts."""
    got = 0

    def on_message(_client: object, _data: object, _message: object) -> None:
        nonlocal got
        got += 1
        if got == load.messages:
            load.last.value = time.time()
            load.counted.value = got

    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="bare")
    client.on_message = on_message
    client.connect("127.0.0.1", load.port)
    client.subscribe("hearthline/v1/+/+/+/telemetry", 1)
    client.loop_forever()


def compare(messages: int, devices: int, rounds: int, *, say: Callable[[str], None] = print) -> Compared:
    """Load the server and the bare subscriber in turn."""
    server, bare = [], []
    for _ in range(rounds):
        with mosquitto() as broker, running(site_texts(devices), broker) as up:
            assert broker.process is not None
            pids = {"broker": broker.process.pid, "server": up.process.pid}
            server.append(Load(broker.port, messages, devices).run(pids))
            readable_s = up.wait_for_readings(messages)
        say(_line("server", server[-1]))
        with mosquitto() as broker:  # another one: the server's session would gather these messages too
            assert broker.process is not None
            load = Load(broker.port, messages, devices)
            bare.append(load.run({"broker": broker.process.pid}, listen=partial(count_only, load)))
        say(_line("bare", bare[-1]))
    return Compared(server, bare, readable_s)


def _line(name: str, loaded: Loaded) -> str:
    spent = ", ".join(f"{process} {loaded.cpu_us(process):.1f}" for process in loaded.cpu_s)
    return (
        f"  {name:6} {loaded.rate:7,.0f} messages/s; µs of CPU a message: {spent}; "
        f"{loaded.per_cpu_s:,.0f} messages a CPU second of all together"
    )


def figures(*, messages: int = MESSAGES, devices: int = DEVICES, rounds: int = 2) -> list[Figure]:
    """What the table shows."""
    compared = compare(messages, devices, rounds)
    return [
        Figure("acknowledged end to end, 18 values", compared.rate, "messages/s", GOAL, above=True),
        Figure("of a bare paho subscriber", compared.ratio, "", GOAL_RATIO, above=True),
    ]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--messages", type=int, default=MESSAGES)
    arguments.add_argument("--devices", type=int, default=DEVICES)
    arguments.add_argument("--rounds", type=int, default=3)
    given = arguments.parse_args()
    print(f"machine: {machine()}")
    compared = compare(given.messages, given.devices, given.rounds)
    print(
        f"end to end: {given.messages:,} messages of 18 values, {given.devices:,} devices: "
        f"{compared.rate:,.0f} messages/s acknowledged (goal {GOAL:,}), "
        f"{compared.ratio:.2f} of a bare subscriber (goal {GOAL_RATIO}); "
        f"readable {compared.readable_s:.1f} s after the last"
    )


if __name__ == "__main__":
    main()
