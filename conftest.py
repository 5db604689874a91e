"""How the tests of a whole run are spread over three processes.

By file, since what is costly is made once for a file. Those that hold whole systems to seconds, and then
those that mostly wait (for a Kafka group to notice that a member is gone, say), run one after the other in
one process: beside it two that always compute keep two cores busy. What takes long begins first, so that
nobody ends long after the others.
"""

from __future__ import annotations

import gc
import os
from typing import Any, Final

import pytest

WORKERS: Final = 3  # the gate has two cores; with four it took longer
TIMED: Final = (
    "tests/faults/test_kills.py",
    "tests/faults/test_outages.py",
    "tests/acceptance/test_demo.py",
    "tests/acceptance/test_standing_up_to_slowness.py",
)
WAITING: Final = (
    "tests/streams/runtime/test_faust_app.py",
    "tests/faults/test_kills_distributed.py",
    "tests/faults/test_oracle.py",
    "tests/edge/test_collector.py",
    "tests/alerts/test_post.py",
    "tests/hearthline/test_ingest_command.py",
    "tests/hearthline/test_worker_command.py",
    "tests/hearthline/test_alerts_command.py",
)
IN_TURN: Final = (*TIMED, *WAITING)  # some four fifths of the run; its process then helps with the rest
LONG: Final = (  # files of half a minute and more, then rooms; the first waits, and what is timed computes
    "tests/dashboards/test_wall.py",
    "tests/ingest/test_bad_input.py",
    "tests/dashboards/test_doing.py",
    "tests/dashboards/test_taken_along.py",
    "tests/dashboards/test_pages.py",
    "tests/ingest/test_doors.py",
    "tests/laws/test_leap.py",
    "tests/faults/test_mutations_doors.py",
    "tests/laws/test_restatement.py",
    "tests/dashboards/test_range.py",
    "tests/streams/runtime/test_faust_rows.py",
    "tests/dashboards/test_grafana_influxd.py",
    "tests/alerts/test_two_desks.py",
    "tests/laws/",
    "tests/faults/",
    "tests/acceptance/",
    "tests/ingest/",
    "tests/dashboards/",
    "tests/hearthline/",
    "tests/simulator/",
    "tests/streams/",
    "tests/edge/",
    "tests/store/",
    "tests/alerts/",
)
LESS_URGENT: Final = 5


def file_of(nodeid: str) -> str:
    """The file of a test."""
    return nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Three for everything; none where somebody names what to run, and wants to see it at once."""
    return WORKERS if config.args_source is pytest.Config.ArgsSource.TESTPATHS else 0


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give a process one file after the other, and all of `IN_TURN` to the same."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):  # the groups of xdist 3.8 do nothing under pytest 9.2: docs/traps.md
        def _split_scope(self, nodeid: str) -> str:
            return "in turn" if file_of(nodeid) in IN_TURN else file_of(nodeid)

    return ByFile(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put what takes long first, so that all processes end at about the same time."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: place(item.nodeid))  # stable: within a file the order stays


def pytest_collection() -> None:
    """Look for nothing that can be freed while all is imported that thousands of tests need."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Leave what was imported out of every later search, too."""
    gc.collect()
    gc.freeze()
    gc.enable()


def place(nodeid: str) -> int:
    """Where a test stands in the queue."""
    if file_of(nodeid) in IN_TURN:
        return IN_TURN.index(file_of(nodeid)) - len(IN_TURN)
    return next((at for at, room in enumerate(LONG) if nodeid.startswith(room)), len(LONG))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let what is held to seconds, or mostly waits, go first: its process does it before anything else."""
    worker = getattr(item.config, "workerinput", None)
    if worker is not None and file_of(item.nodeid) not in IN_TURN and "less urgent" not in worker:
        worker["less urgent"] = os.nice(LESS_URGENT)
