"""An open page has its socket and its address, and nothing else of how it came."""

import asyncio
import gc
import time
from types import CoroutineType

import aiohttp
import pytest
from nicegui import Client
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipResponder

from benchmarks.board import Viewer
from dashboards.board import create_app
from dashboards.serve import BoardServer
from tests.support.board_data import seeded, status
from tests.support.waiting import PATIENCE_S

PAGES = 5


@pytest.fixture
def url(tmp_path):
    day = seeded(tmp_path, trouble=False)
    server = BoardServer(create_app(day.store, day.site, lambda: day.now_ms, status), port=0)
    server.start()
    yield server.url
    server.stop()
    day.store.close()


def test_pages_are_fed_and_hold_no_answer_and_no_layer_that_is_for_requests(url):
    async def look():
        held_before = held()
        async with aiohttp.ClientSession() as session:
            viewers = [Viewer(url, 0.0, []) for _ in range(PAGES)]
            for viewer in viewers:
                await viewer.open(session)
            end = time.monotonic() + PATIENCE_S
            while not all(v.messages for v in viewers) or held() != held_before:
                assert time.monotonic() < end, (held_before, held(), [v.messages for v in viewers])
                await asyncio.sleep(0.05)
            asked = [c.request for c in Client.instances.values() if c.has_socket_connection]
            await asyncio.gather(*(v.sio.disconnect() for v in viewers))
        return asked

    asked = asyncio.run(look())
    assert len(asked) == PAGES
    for request in asked:
        assert (request.url.path, request.query_params["lang"]) == ("/", "en")
        assert request.client.host == "127.0.0.1"
        assert not request.scope.keys() & {"app", "router", "endpoint", "state"}


def held() -> tuple[int, int]:
    """Packers of answers, and requests or sockets on their way through NiceGUI's own layers."""
    objects = gc.get_objects()
    packers = [o for o in objects if type(o) is GZipResponder]
    through = BaseHTTPMiddleware.__call__.__code__
    return len(packers), sum(1 for o in objects if type(o) is CoroutineType and o.cr_code is through)
