"""How the tests of a whole run are spread over two processes.

By file, since what is costly is made once for a file; those that hold whole systems to seconds
run in one of the processes alone, so never beside each other. What takes long begins first.
"""

from __future__ import annotations

from typing import Any, Final

import pytest

WORKERS: Final = 2  # the gate has two cores
TIMED: Final = (
    "tests/faults/test_kills.py",
    "tests/faults/test_outages.py",
    "tests/acceptance/test_demo.py",
    "tests/acceptance/test_standing_up_to_slowness.py",
    "tests/dashboards/test_pages.py",
)
LONG: Final = (
    "tests/acceptance/",
    "tests/faults/",
    "tests/laws/",
    "tests/ingest/",
    "tests/hearthline/",
    "tests/edge/",
    "tests/simulator/",
    "tests/streams/",
)


def file_of(nodeid: str) -> str:
    """The file of a test."""
    return nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two for everything; none where somebody names what to run, and wants to see it at once."""
    return WORKERS if config.args_source is pytest.Config.ArgsSource.TESTPATHS else 0


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give a process one file after the other, and all of `TIMED` to the same."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):  # the groups of xdist 3.8 do nothing under pytest 9.2: docs/traps.md
        def _split_scope(self, nodeid: str) -> str:
            return "timed" if file_of(nodeid) in TIMED else file_of(nodeid)

    return ByFile(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put what takes long first, so that both processes end at about the same time."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: place(item.nodeid))  # stable: within a file the order stays


def place(nodeid: str) -> int:
    """Where a test stands in the queue."""
    if file_of(nodeid) in TIMED:
        return -1
    return next((at for at, room in enumerate(LONG) if nodeid.startswith(room)), len(LONG))
