"""A worker's program: Faust's own, run until it is told to stop, and what its end means."""

from __future__ import annotations

import asyncio
import logging
import logging.config
from collections.abc import Callable

import faust
from aiokafka.errors import KafkaError

from streams.runtime.faust_app import FrameWorker
from streams.runtime.faust_partition import Pipelines, Sink
from streams.runtime.faust_process import EXIT_RESTART, log_config
from streams.runtime.faust_settings import WorkerSettings

__all__ = ["run_worker"]

log = logging.getLogger("hearthline.worker")


def run_worker(
    settings: WorkerSettings,
    pipelines: Pipelines,
    sink: Sink,
    *,
    unavailable: tuple[type[Exception], ...] = (),
    loglevel: str = "WARNING",
    watch: Callable[[FrameWorker], None] = lambda _worker: None,
) -> int:
    """Run a worker, which `watch` is given first, until it is told to stop; gives its exit status."""
    logging.config.dictConfig(log_config(loglevel))
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    worker = FrameWorker(settings, pipelines, sink, unavailable=unavailable)
    watch(worker)
    # Not by Faust's command line, which turns the web server on again, on every interface.
    program = faust.Worker(
        worker.app,
        loop=loop,
        quiet=True,
        override_logging=False,
        redirect_stdouts=False,
    )
    program.spinner = None
    try:
        program.execute_from_commandline()
    except SystemExit as done:
        # What ends the library while it starts is told by it, and turned into a status of its own.
        if not isinstance(done.__context__, KafkaError):
            return int(done.code or 0)
        error: BaseException = done.__context__
    except KafkaError as told:
        # As when a process was stopped while it restored: what it had asked for is past its time by then.
        error = told
    else:
        return 0
    log.critical(
        "Kafka did not answer in time: %s; leaving (a new process goes on from the last checkpoint)", error
    )
    return EXIT_RESTART
