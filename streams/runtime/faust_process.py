"""A worker's process: Faust's application with our transport, its log, and how it ends."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

import faust
from faust.types import TP

from streams.runtime.faust_lease import Lease
from streams.runtime.faust_transport import CheckpointTransport

__all__ = ["EXIT_REFUSED", "EXIT_RESTART", "WorkerApp", "leave", "log_config"]

EXIT_RESTART: Final = 75
"""Exit status that asks the supervisor for a new process (EX_TEMPFAIL)."""
EXIT_REFUSED: Final = 2
"""Exit status that says that somebody has to do something first."""

log = logging.getLogger("hearthline.worker")


class WorkerApp(faust.App):
    """Faust's application with our transport, lease and bounded stop.

    Attributes
    ----------
    lease : Lease
    starts : callable
        Where to read on in each partition, from where its log starts.
    before_stop : callable
        Awaited first when the worker is told to stop.
    stop_s : float
        The process ends after so long, stopped or not. [s]
    """

    lease: Lease
    starts: Callable[[Mapping[TP, int]], dict[TP, int]]
    before_stop: Callable[[], Any]
    stop_s: float

    def _new_transport(self) -> CheckpointTransport:
        return CheckpointTransport(self.conf.broker_consumer, self)

    async def on_stop(self) -> None:
        """Stop, or leave when that takes too long."""
        # Without brokers Faust waits for each request's time-out in turn.
        late = threading.Timer(
            self.stop_s, leave, ["expected to stop in time; leaving without Kafka's answer"]
        )
        late.daemon = True
        late.start()
        await self.before_stop()
        await super().on_stop()


def leave(reason: str, status: int = EXIT_RESTART) -> None:
    """End the process at once, for its supervisor to start a new one: nothing half-known is written."""
    after = " (a new process goes on from the last checkpoint)" if status == EXIT_RESTART else ""
    log.critical("%s; leaving%s", reason, after)
    logging.shutdown()
    sys.stderr.flush()
    os._exit(status)


def log_config(loglevel: str) -> dict[str, Any]:
    """Lines on stderr: ours, and the libraries' from `loglevel` on."""
    line = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": line}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": loglevel},
        "loggers": {"hearthline": {"level": "INFO"}},
    }
