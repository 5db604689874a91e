"""The live board: NiceGUI pages around one live element, the hub and the HTTP interface."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import nicegui.elements.echart  # noqa: F401  offers ECharts to our modules under the name nicegui-echart
import orjson
from fastapi import FastAPI, Request, Response
from nicegui import Client, core, ui
from starlette.middleware.gzip import GZipMiddleware

from dashboards.api import BoardActions, Refusal, Sources, router, say_no
from dashboards.asked_range import check_range, plainly
from dashboards.doors import Doors
from dashboards.frame import frame, site_label
from dashboards.kept_files import KeptFiles, LastingFiles, chart_modules
from dashboards.language import catalogue, choose, in_words, pick
from dashboards.live import Hub
from dashboards.open_page import StraightSockets, keep_address_only
from dashboards.panels import Page, Panel, Series, Text, judged_by, pages
from dashboards.probes import Probes, probe_routes
from dashboards.scope import Scope, ScopeError
from dashboards.sorry import install
from models.site import Site
from models.wording import reported, tellable
from store.protocol import SeriesStore

__all__ = ["BoardActions", "create_app"]

_PACKED: Final = 4
"""How hard answers are packed: at 9 it takes the event loop four times as long for a twelfth less."""
_ASSETS: Final = Path(__file__).parent / "assets"
_STATE: Final = "hearthline_board"
_RECONNECT_S: Final = 30.0
_TURN_S: Final = (5, 3600)
"""A wall turns its pages no faster and no slower. [s]"""


@dataclass(frozen=True, slots=True)
class _Board:
    """What one server's pages share."""

    sources: Sources
    hub: Hub
    simulated: bool
    assets: str
    tour: bool


class BoardElement(ui.element, component="board_element.js"):
    """A whole page: its frame, and what is drawn in the browser from data, fed by the hub."""

    def __init__(self, header: dict[str, Any], config: dict[str, Any] | None = None) -> None:
        super().__init__()
        # As text: NiceGUI watches every list and mapping of an element, 0.1 MB for each page that is open.
        self._props["frame"] = _shared(orjson.dumps(header).decode())
        if config is not None:
            self._props["config"] = _shared(orjson.dumps(config).decode())


@lru_cache(maxsize=64)
def _shared(text: str) -> str:
    """One object for all pages whose text is the same."""
    return text


def create_app(
    store: SeriesStore,
    site: Site,
    clock: Callable[[], int],
    status: Callable[[], Mapping[str, Any]],
    actions: BoardActions | None = None,
    *,
    simulated: bool = False,
    tour: bool = False,
    token: str = "",
    probes: Probes | None = None,
) -> FastAPI:
    """The board as an ASGI application.

    NiceGUI has one application a process: the pages find their own board through
    the request, but only one board may be running at a time.

    Parameters
    ----------
    store : SeriesStore
        Asked from threads of the board's own.
    site : Site
    clock : callable
        The site's now, ms UTC: the wall's, or the data's.
    status : callable
        ``{"components": [{"name", "state", "detail"}, …], "ledger": …, "rows": …}``.
    actions : BoardActions or None
        What people may do; None leaves the buttons out.
    simulated : bool
        Says so on every page.
    tour : bool
        Offers first steps, and opens them at a browser's first visit.
    token : str
        Secret for changes through HTTP; empty allows none.
    probes : Probes or None
        Answers `/health`, `/ready` and `/metrics`; None leaves them out.
    """
    sources = Sources(store, site, clock, status, actions, token)
    hub = Hub(store, clock, status, site)
    board = _Board(sources, hub, simulated, f"/assets/{_version()}", tour)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(hub.run(), name="board hub")
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await asyncio.to_thread(hub.close)
        sources.close()

    app = FastAPI(title="Hearthline", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(router(sources))
    app.add_exception_handler(Refusal, say_no)
    if probes is not None:
        app.router.routes.extend(probe_routes(probes))
    app.mount(board.assets, LastingFiles(directory=_ASSETS))
    _mount_pages(app)
    install(board.assets)
    app.add_middleware(KeptFiles)
    app.add_middleware(StraightSockets)
    app.add_middleware(Doors, state={_STATE: board})
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=_PACKED)
    return app


def _mount_pages(app: FastAPI) -> None:
    core.app.middleware_stack = None  # NiceGUI's one application may have served an earlier board
    core.app.user_middleware.clear()
    ui.run_with(
        app,
        title="Hearthline",
        dark=None,
        reconnect_timeout=_RECONNECT_S,
        tailwind=False,
        show_welcome_message=False,
        gzip_middleware_factory=None,
        binding_refresh_interval=None,
        message_history_length=100,
        favicon="🔥",
    )
    # Quasar's bar of requests under way has no name for those who cannot see it; the page says how old it is.
    core.app.config.quasar_config["loadingBar"] = {"skipHijack": True}


def _version() -> str:
    """Name of the assets' present content: browsers may keep them for ever."""
    digest = hashlib.sha256()
    for path in sorted(_ASSETS.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _serve(page: Page) -> None:
    """Register `page` with NiceGUI."""
    if "{device}" in page.path:

        @ui.page(page.path, title="Hearthline", reconnect_timeout=_RECONNECT_S)
        def about_device(request: Request, client: Client, device: str) -> Response | None:
            if (plain := plainly(request, _site_of(request))) is None:
                _build(request, client, page, device)
            return plain

    else:

        @ui.page(page.path, title="Hearthline", reconnect_timeout=_RECONNECT_S)
        def about_scope(request: Request, client: Client) -> Response | None:
            if (plain := plainly(request, _site_of(request))) is None:
                _build(request, client, page, "")
            return plain


for _page in pages():
    _serve(_page)


def _site_of(request: Request) -> Site:
    board: _Board = request.scope[_STATE]
    return board.sources.site


def _build(request: Request, client: Client, page: Page, device: str) -> None:
    """Build one client's page: the frame by NiceGUI, the panels by the live element."""
    client.on_connect(lambda: keep_address_only(client))
    board: _Board = request.scope[_STATE]
    site = board.sources.site
    asked = request.query_params
    language = choose(
        asked.get("lang"), request.cookies.get("hl_lang"), request.headers.get("accept-language")
    )
    chosen = next(
        (t for t in (asked.get("theme"), request.cookies.get("hl_theme")) if t in ("light", "dark")), ""
    )
    theme = chosen or "light"
    scope = Scope(asked.get("region", ""), asked.get("unit", ""), device)
    about = site.devices[device].name or device if device in site.devices else ""
    named = (about, pick(page.title, language), site_label(site), "Hearthline")
    client.title = " · ".join(part for part in named if part)
    ui.add_head_html(_head(board.assets))
    client.content.classes(f"hl hl-{theme}")
    texts = catalogue(language)
    turn_s = _turn_s(asked.get("wall"))
    kept = {
        "lang": language, "theme": chosen, "region": scope.region, "unit": scope.unit,
        "wall": str(turn_s) if turn_s else "",
    }  # fmt: skip
    header = frame(site, page, device, language, theme, texts, kept, board.simulated)
    header["follows_system"] = not chosen
    try:
        scope.check(site)
        check_range(asked)
    except (ScopeError, ValueError) as error:
        client.status_code = 404
        why = in_words(reported(error), texts)
        if isinstance(error, ScopeError):
            why += " · " + texts["it may have been taken out of the registry, or renamed"]
        BoardElement({**header, "apology": _apology(texts, why, kept)})
        return
    element = BoardElement(
        header,
        {
            "assets": board.assets,
            "language": language,
            "theme": theme,
            "texts": texts,
            "page": _page_data(page, language),
            "about": about,
            "scope": {"region": scope.region, "unit": scope.unit, "device": scope.device},
            "wall": {"turn_s": turn_s, "pages": [p.path for p in pages() if p.wall and "{" not in p.path]},
            "timezone": site.timezone,
            "now_ms": board.sources.clock(),
            "simulated": board.simulated,
            "tour": board.tour,
            "actions": board.sources.actions is not None,
            "entering": _entering(site) if board.sources.actions is not None else None,
            "places": [
                *(("region", r.id, r.name or r.id) for r in site.regions.values()),
                *(("unit", u.id, u.name or u.id) for u in site.units.values()),
            ],
            "names": {
                f"{u.region} / {u.id}": f"{site.regions[u.region].name or u.region} / {u.name or u.id}"
                for u in site.units.values()
            },
        },
    )
    _connect(board, client, element, page, scope)


@cache
def _head(assets: str) -> str:
    """What a browser needs, named at once: modules that name others would come one after another."""
    modules = [f"{assets}/{path.name}" for path in sorted(_ASSETS.glob("*.js"))]
    lines = [
        f'<link rel="modulepreload" href="{url}" fetchpriority="low">' for url in (*modules, *chart_modules())
    ]
    return "\n".join([f'<link rel="stylesheet" href="{assets}/board.css">', *lines])


def _entering(site: Site) -> dict[str, Any] | None:
    """What can be entered by hand; None where no office is registered that could."""
    if not any(d.device_class == "office" for d in site.devices.values()):
        return None
    return {"networks": [(n.id, n.name or n.id) for _, n in sorted(site.networks.items())]}


def _connect(board: _Board, client: Client, element: BoardElement, page: Page, scope: Scope) -> None:
    """Feed the page once its browser is ready, and stop when it goes away."""

    async def send(message: dict[str, Any]) -> None:
        if client.has_socket_connection:
            # Past NiceGUI's outbox, which keeps what was sent for replay: here only the newest matters.
            await core.sio.emit("hearthline", message, room=client.id)

    async def retry(event: Any) -> None:
        key = event.args if isinstance(event.args, str) else ""
        try:
            await board.sources.retry(key)
            notice = {"key": key, "done": True, "detail": ""}
        except Refusal as error:
            notice = {"key": key, "done": False, "detail": tellable(error.why)}
        await core.sio.emit("hearthline_notice", notice, room=client.id)

    async def act(event: Any) -> None:
        asked = {**event.args} if isinstance(event.args, dict) else {}
        # A page may ask for the next before it is answered, and is told which this is the answer to.
        notice = {"key": asked.get("alarm"), "about": "alarm", "deed": asked.pop("deed", None)}
        try:
            await board.sources.act(asked)
            notice |= {"done": True, "detail": ""}
        except Refusal as error:
            notice |= {"done": False, "detail": tellable(error.why)}
        await core.sio.emit("hearthline_notice", notice, room=client.id)

    async def enter(event: Any) -> None:
        asked = event.args if isinstance(event.args, dict) else {}
        try:
            notice = {"about": "entry", "done": True, "ref": await board.sources.enter(asked)}
        except Refusal as error:
            notice = {"about": "entry", "done": False, "detail": tellable(error.why)}
        await core.sio.emit("hearthline_notice", notice, room=client.id)

    board.hub.expect(page, scope)
    element.on("enter", enter)
    element.on("ready", lambda: board.hub.join(client.id, page, scope, send))
    element.on("retry", retry)
    element.on("alarm", act)
    client.on_disconnect(lambda: board.hub.leave(client.id))
    client.on_delete(lambda: board.hub.leave(client.id))


def _apology(texts: Mapping[str, str], error: str, kept: Mapping[str, str]) -> dict[str, Any]:
    query = urlencode({k: v for k, v in kept.items() if k in ("lang", "theme")})
    home = {"text": texts["Go to the overview"], "url": f"/?{query}"}
    return {"title": texts["This cannot be shown"], "why": error, "home": home}


def _turn_s(text: str | None) -> int:
    """For how long a wall shows a page, within bounds; 0 where it turns none. [s]"""
    least, most = _TURN_S
    return max(least, min(most, int(text))) if text and text.isdecimal() and len(text) < 10 else 0


def _page_data(page: Page, language: str) -> dict[str, Any]:
    return {
        "id": page.id,
        "path": page.path,
        "rows": page.rows,
        "panels": [_panel_data(p, language) for p in page.panels],
    }


def _panel_data(panel: Panel, language: str) -> dict[str, Any]:
    return {
        "id": panel.id,
        "title": pick(panel.title, language),
        "kind": panel.kind,
        "feeds": panel.feeds,
        "width": panel.width,
        "height": panel.height,
        "scope": panel.scope,
        "hours": panel.hours,
        "first_known": panel.first_known,
        "note": _optional(panel.note, language),
        "absent": _optional(panel.absent, language),
        "first": _optional(panel.first, language),
        "series": [_series_data(s, language) for s in panel.series],
        "codes": panel.codes,
        "states": panel.states,
        "unknown": [
            {"fields": u.fields, "why": pick(u.why, language), "zero": u.zero} for u in panel.unknown
        ],
        "columns": [{"field": f, "label": pick(t, language), "unit": u} for f, t, u in panel.columns],
    }


def _series_data(series: Series, language: str) -> dict[str, Any]:
    band = series.band
    return {
        "field": series.field,
        "measurement": series.select.measurement,
        "judged_by": judged_by(series.field),
        "label": pick(series.label, language),
        "unit": series.unit,
        "scale": series.scale,
        "classes": series.classes,
        "across": series.across,
        "colour": series.colour,
        "dashed": series.dashed,
        "band": None
        if band is None
        else {
            "low": band.low,
            "high": band.high,
            "around": band.around,
            "within": band.within,
            "usual": band.usual,
            "priority": band.priority,
        },
    }


def _optional(text: Text | None, language: str) -> str:
    return "" if text is None else pick(text, language)
