"""A seeded board in this process, and a browser that looks at it: fixtures for a module to import."""

from __future__ import annotations

import csv
import io
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock
from weakref import WeakKeyDictionary

import duckdb
import pytest

from dashboards.api import ActionRefusedError
from dashboards.board import create_app
from dashboards.live import Hub
from dashboards.panels import Page
from dashboards.serve import BoardServer
from models.anomaly import ANOMALY, Anomaly, Severity, anomaly_table
from models.results import Outputs
from models.site import Device, Pipe, Site
from tests.support.board_alarms import seed_alarms
from tests.support.board_coal import site_with_coal, write_coal
from tests.support.board_data import NOW_MS, Day, make_site, seeded, status
from tests.support.chromium import Watched, chromium
from tests.support.waiting import PATIENCE_S

DESK = {"width": 1920, "height": 1080}
PHONE = {"width": 390, "height": 844}
TWO_LOOKS = [
    pytest.param(language, size, id=f"{language}-{name}", marks=() if at in {0, 3} else pytest.mark.soak)
    for at, (language, (name, size)) in enumerate(
        product(("zh", "en"), {"desk": DESK, "phone": PHONE}.items())
    )
]
"""Both languages and both sizes, by two looks; all four in the soak."""


def with_pipes(site: Site) -> Site:
    """`site` with a network that branches, its devices at the ends, and an office."""
    devices = {
        name: replace(d, node=f"n-{name}") if d.network == "net-1" else d for name, d in site.devices.items()
    }
    devices["office-1"] = Device("office-1", "office", "donghe", "donghe", name="调度室")
    pipes = {}
    for i, name in enumerate(sorted(n for n, d in devices.items() if d.node and n != "plant-1")):
        near = "n-plant-1" if i < 3 else f"n-sub-{(i - 3) // 2:02d}"
        pipes[f"pipe-{i:02d}"] = Pipe(f"pipe-{i:02d}", "net-1", near, f"n-{name}", 300.0 + 40 * i, 0.3)
    return replace(site, devices=devices, pipes=pipes)


class Actions:
    def __init__(self):
        self.retried = []
        self.acted = []
        self.entered = []
        self.answering = threading.Event()
        self.answering.set()

    def retry(self, dead_letter):
        self.retried.append(dead_letter)

    def act(self, asked):
        if not asked["who"]:
            raise ActionRefusedError("who: expected the name of a person, got none")
        assert self.answering.wait(PATIENCE_S)
        self.acted.append(asked)

    def enter(self, asked):
        if not asked["who"]:
            raise ActionRefusedError("who: expected the name of a person, got none")
        self.entered.append(asked)
        return "board-1"


class Running:
    made: type[Day] = Day

    def __init__(self, folder: Path) -> None:
        self.day = seeded(folder, with_pipes(site_with_coal(make_site())), trouble=True, made=self.made)
        self.alarms = seed_alarms(self.day.store)
        self.actions = Actions()
        self.now_ms = NOW_MS
        self.write_anomalies()
        write_coal(self.day)
        with mock.patch("dashboards.board.Hub", self._keep_hub):
            app = create_app(
                self.day.store,
                self.day.site,
                lambda: self.now_ms,
                status,
                self.actions,
                simulated=True,
                token="t",
            )
        self.server = BoardServer(app, port=0)
        self.server.start()

    def _keep_hub(self, *parts: Any) -> Hub:
        self.hub = Hub(*parts)
        return self.hub

    def write_anomalies(self) -> None:
        """A leak, and a meter that drifts."""
        evidence = {"excess_m3_h": 1.25, "located": "behind pipe-07", "confidence": 0.98}
        found = [
            Anomaly(subject, code, Severity.MAJOR, 2.0, evidence, NOW_MS - 7_200_000, NOW_MS, 3_600_000,
                    "donghe", "north")
            for subject, code in (("network:net-1", "primary_leak"), ("sub-01", "flow_meter_drift"))
        ]  # fmt: skip
        out = Outputs("donghe", self.day._next())
        out.add(ANOMALY, anomaly_table(found, "donghe"))
        self.day.store.write([out])

    def stop(self) -> None:
        self.server.stop()
        for _ in range(100):  # a question that was asked last may still be under way
            try:
                self.day.store.close()
            except duckdb.Error:
                time.sleep(0.1)
            else:
                return


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    made = Running(tmp_path_factory.mktemp("series"))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def opened(running, browser):
    """Open a path of the board in a tab of its own; what tests before it left in the browser is gone.

    What `before` does with the page is done when nothing is on it yet.
    Every window and profile costs Chromium half a second of processor time, so the first tab of a test is one
    in a window that stays; further ones have each a profile of their own, as of other people.
    """
    open_ = []

    def go(path: str, size: dict[str, int] = DESK, url: str = "", *, before: Any = None) -> Watched:
        at = url or running.server.url
        profile = browser.new_context(**_ABROAD) if open_ else _window(browser, at)
        page = profile.new_page()
        open_.append(profile if open_ else page)
        page.set_viewport_size(size)
        watched = Watched(page)
        if before is not None:
            before(page)
        watched.page.goto(at + path)
        watched.page.wait_for_selector(".hl-clock b")
        return watched

    yield go
    for each in open_:
        each.close()


_ABROAD = {"locale": "en-GB", "timezone_id": "America/New_York"}
_WINDOWS: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def _window(browser: Any, url: str) -> Any:
    """The browser's window that stays, by an empty tab in it, without what pages of `url` have kept there."""
    context = _WINDOWS.get(browser)
    if context is None:
        context = _WINDOWS[browser] = browser.new_context(**_ABROAD)
        context.new_page()
    kept = context.new_cdp_session(context.pages[0])
    kept.send("Storage.clearDataForOrigin", {"origin": url, "storageTypes": "all"})
    kept.detach()
    context.clear_cookies()
    return context


_AT_ONCE = 10
_AT_ONCE_S = 1.1
"""Chromium drops a page's further downloads without a word once ten began within a second: no person is so
fast, a test is on a quiet machine."""
_BEGAN: WeakKeyDictionary[Any, deque[float]] = WeakKeyDictionary()


def taken(page: Any, panel: str) -> list[list[str]]:
    """Rows of a panel's CSV, as its button gives them."""
    from playwright.sync_api import TimeoutError as NothingCameError

    began = _BEGAN.setdefault(page, deque(maxlen=_AT_ONCE))
    if len(began) == _AT_ONCE:
        page.wait_for_timeout(1000 * max(0.0, began[0] + _AT_ONCE_S - time.monotonic()))
    page.evaluate(_COUNT_FILES)
    page.locator(f"#panel-{panel} .hl-tools summary").click()
    try:
        with page.expect_download() as caught:
            began.append(time.monotonic())
            page.locator(f"#panel-{panel} [data-take=csv]").click()
    except NothingCameError as error:
        open_, made = page.evaluate(
            "p => [document.querySelector(`#panel-${p} .hl-tools`).open, window.hlFiles]", panel
        )
        msg = f"{panel}: expected a file, got none; menu open: {open_}; files made by the page: {made}"
        raise AssertionError(msg) from error
    text = Path(caught.value.path()).read_text(encoding="utf-8-sig")
    return list(csv.reader(io.StringIO(text, newline="")))


_COUNT_FILES = """() => {
  const make = URL.createObjectURL;
  if (window.hlFiles === undefined) URL.createObjectURL = (x) => { window.hlFiles += 1; return make.call(URL, x); };
  window.hlFiles = 0;
}"""


def until(page: Any, expression: str, arg: Any = None, timeout_s: float = PATIENCE_S) -> Any:
    """Wait until `expression` is true on the page; what it gave.

    Playwright's own way polls by `eval`, which the page's policy refuses.
    """
    end = time.monotonic() + timeout_s
    while not (given := _evaluated(page, expression, arg)):
        assert time.monotonic() < end, f"not so after {timeout_s:.0f} s: {expression}"
        page.wait_for_timeout(100)
    return given


_HISTORY = {"tile", "line", "scatter", "bands", "heatmap"}


def stand(page: Any, shown: Page) -> None:
    """Wait until every panel of `shown` has been read, and what has a history is drawn."""
    until(
        page,
        "document.querySelector('.hl-clock b') && !document.querySelector('.hl-unread, [aria-busy=true]')",
    )
    drawn = [p.id for p in shown.panels if p.kind in _HISTORY and p.series]
    until(page, "ids => ids.every(id => performance.getEntriesByName(`hl-drawn-${id}`).length > 0)", drawn)


def until_here(page: Any, condition: Callable[[], Any]) -> Any:
    """Wait in Python for what a page, or the server for it, does."""
    end = time.monotonic() + PATIENCE_S
    while not (given := condition()):
        assert time.monotonic() < end, f"not within {PATIENCE_S:g} s"
        page.wait_for_timeout(50)
    return given


def _evaluated(page: Any, expression: str, arg: Any) -> Any:
    from playwright.sync_api import Error

    try:
        return page.evaluate(expression, arg)
    except Error as error:
        if not any(between in error.message for between in _BETWEEN_PAGES):
            raise
        return False


_BETWEEN_PAGES = "context was destroyed", "Cannot read properties of null"
"""What is said on the way to another page, of whose parts none is there yet."""
