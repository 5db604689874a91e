"""A real Chromium for tests of pages, which notes whatever should not happen."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.needs import missing
from tests.support.waiting import PATIENCE_S

PATIENCE_MS = 1000 * PATIENCE_S
LOOPBACK = {"127.0.0.1", "localhost", "[::1]", "::1"}
_INSTALL = "apt-get install -y chromium fonts-wqy-zenhei"
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    # A process more for drawing, for each tab, or to have one at hand, costs processor time; pages are the same.
    "--in-process-gpu",
    "--process-per-site",
    "--renderer-process-limit=1",
    "--disable-features=OptimizationHints,MediaRouter,Translate,SpareRendererForSitePerProcess",
)


def executable() -> str:
    """Path of the installed Chromium; without one a test is skipped, in CI it fails."""
    found = (
        os.environ.get("CHROME_BINARY_LOCATION") or shutil.which("chromium") or shutil.which("google-chrome")
    )
    return found or missing("Chromium", _INSTALL)


class Watched:
    """A page, and what it did that it should not have."""

    def __init__(self, page: Any) -> None:
        self.page = page
        page.set_default_timeout(PATIENCE_MS)
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error.message} {error.stack}"))
        page.on("request", self._request)
        page.on("websocket", lambda socket: self._check(socket.url))
        page.on(
            "requestfailed",
            lambda r: (
                self.complaints.append(f"failed: {r.url} {r.failure}")
                if r.failure != "net::ERR_ABORTED"
                else None
            ),
        )

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _request(self, request: Any) -> None:
        self._check(request.url)

    def _check(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in LOOPBACK:
            self.foreign.append(url)

    def assert_quiet(self) -> None:
        """No console error or warning, and no request left this machine."""
        assert self.foreign == [], self.foreign
        assert self.complaints == [], self.complaints

    def assert_accessible(self) -> None:
        """axe-core finds nothing serious, contrast among it."""
        self.page.evaluate(_axe())  # not by a script element, which the page's policy would refuse
        found = self.page.evaluate(
            "axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.map(v => "
            "({id: v.id, impact: v.impact, where: v.nodes.map(n => n.html.slice(0, 200)).slice(0, 3)})))"
        )
        serious = [v for v in found if v["impact"] in ("serious", "critical")]
        assert serious == [], serious


@cache
def _axe() -> str:
    """axe-core, as its package carries it."""
    from axe_playwright_python.base import AXE_FILE_PATH

    return Path(AXE_FILE_PATH).read_text(encoding="utf-8")


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser, closed at the end."""
    path = executable()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_ARGUMENTS), timeout=PATIENCE_MS)
        make = browser.new_context

        def patient(**options: Any) -> Any:
            context = make(**options)
            context.set_default_timeout(PATIENCE_MS)
            return context

        browser.new_context = patient  # type: ignore[method-assign]
        try:
            yield browser
        finally:
            browser.close()
