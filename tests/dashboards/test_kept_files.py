"""Files that never change are packed once; everything else is asked for each time."""

import asyncio
import gzip

import httpx
import pytest
from fastapi import FastAPI, Response

from dashboards.board import create_app
from dashboards.kept_files import KeptFiles, chart_modules
from dashboards.serve import BoardServer
from tests.support.board_data import seeded, status
from tests.support.waiting import PATIENCE_S

SCRIPT = "export const value = 1;\n" * 500
LASTING = {"cache-control": "public, max-age=31536000, immutable"}


@pytest.fixture
def served():
    app = FastAPI()
    app.asked = []

    @app.get("/{name:path}")
    def answer(name: str) -> Response:
        app.asked.append(name)
        if name == "script.js":
            return Response(SCRIPT, media_type="text/javascript", headers=LASTING)
        if name == "tiny.js":
            return Response("1", media_type="text/javascript", headers=LASTING)
        if name == "gone.js":
            return Response("gone", 404, headers=LASTING)
        return Response(f"page {len(app.asked)}", headers={"cache-control": "no-store"})

    app.add_middleware(KeptFiles)
    return app


@pytest.fixture
def board(tmp_path):
    day = seeded(tmp_path, trouble=False)
    server = BoardServer(create_app(day.store, day.site, lambda: day.now_ms, status), port=0)
    server.start()
    with httpx.Client(base_url=server.url, timeout=PATIENCE_S) as client:
        yield client
    server.stop()
    day.store.close()


def asked(app, path, **headers):
    async def run():
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get(path, headers={"accept-encoding": "gzip", **headers})

    return asyncio.run(run())


def test_an_immutable_file_is_asked_for_once_and_given_packed(served):
    answers = [asked(served, "/script.js") for _ in range(3)]
    assert served.asked == ["script.js"]
    for answer in answers:
        assert answer.text == SCRIPT
        assert answer.headers["content-encoding"] == "gzip"
        assert int(answer.headers["content-length"]) < len(SCRIPT) / 10
        assert answer.headers["vary"].lower() == "accept-encoding"
        assert answer.headers["cache-control"] == LASTING["cache-control"]


def test_what_packing_makes_larger_stays_as_it_is(served):
    assert [asked(served, "/tiny.js").text for _ in range(2)] == ["1", "1"]
    assert "content-encoding" not in asked(served, "/tiny.js").headers
    assert served.asked == ["tiny.js"]


@pytest.mark.parametrize(
    ("path", "headers"),
    [("/page", {}), ("/gone.js", {}), ("/script.js?v=1", {}), ("/script.js", {"range": "bytes=0-3"}),
     ("/script.js", {"if-none-match": '"x"'}), ("/script.js", {"accept-encoding": "identity"})],
)  # fmt: skip
def test_everything_else_is_asked_for_each_time(served, path, headers):
    asked(served, "/script.js")
    served.asked.clear()
    first, second = (asked(served, path, **headers) for _ in range(2))
    assert len(served.asked) == 2
    assert "content-encoding" not in second.headers
    assert first.status_code == second.status_code


def test_the_boards_page_names_its_scripts_at_once_and_browsers_may_keep_them(board):
    page = board.get("/?lang=en").text
    scripts = [line.split('href="')[1].split('"')[0] for line in page.splitlines() if "modulepreload" in line]
    assert len(scripts) > 20
    assert set(chart_modules()) <= set(scripts)
    for script in scripts:
        answer = board.get(script)
        assert (answer.status_code, answer.headers.get("content-encoding")) in {(200, "gzip"), (200, None)}
        assert "immutable" in answer.headers["cache-control"]
        assert "nonce-" in answer.headers["content-security-policy"]
    again = board.get(scripts[-1])
    with board.stream("GET", scripts[-1]) as raw:
        packed = b"".join(raw.iter_raw())
    assert gzip.decompress(packed) == again.content
