"""The board's HTTP interface: status, queries, history of panels, dead letters."""

from __future__ import annotations

import asyncio
import hmac
import io
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Final, Protocol

import orjson
import pyarrow as pa
from fastapi import APIRouter, Header, HTTPException, Query, Request, Response

from dashboards.drawing import drawing
from dashboards.history import panel_history
from dashboards.panels import Panel, panel
from dashboards.scope import Scope, ScopeError, devices_in, networks_in, silence_ms, stale_ms
from dashboards.shared import SharedAnswers
from dashboards.trends import trend
from models.site import Place, Site
from models.wording import Worded, reported, tellable, worded
from store.export import write_csv
from store.params import from_params
from store.protocol import Select, SeriesStore, StoreError, StoreUnavailableError

__all__ = [
    "FARTHEST_MS",
    "ActionRefusedError",
    "BoardActions",
    "Refusal",
    "Sources",
    "history_bytes",
    "router",
    "say_no",
]

_JSON: Final = "application/json"
_ARROW: Final = "application/vnd.apache.arrow.stream"
_CACHE_S: Final = 4.0
_SHARED_S: Final = 2.0
_MAX_POINTS: Final = 2000
_CHARTS: Final = frozenset({"tile", "line", "scatter", "bands", "heatmap"})
_MOST_ASKED: Final = 64 * 1024
_MAX_RANGE_MS: Final = 11 * 366 * 86_400_000
FARTHEST_MS: Final = 2**53  # the last whole number that every reader of JSON keeps


class ActionRefusedError(RuntimeError):
    """What a person asked for cannot be done; says why."""

    def __init__(self, why: Worded):
        super().__init__(why)


class Refusal(HTTPException):
    """An answer that says no, and why, in words that a page can say in its own language."""

    def __init__(self, status: int, why: Worded):
        super().__init__(status, why)
        self.why = why


class BoardActions(Protocol):
    """What a person may do from the board."""

    def retry(self, dead_letter: str) -> None:
        """Give the dead letter with key `dead_letter` to ingest again.

        LookupError when there is none; ActionRefusedError when it cannot be retried.
        """
        ...

    def act(self, asked: Mapping[str, Any]) -> None:
        """Do what a person asks of an alarm; ActionRefusedError says why it cannot be done.

        `asked` holds ``alarm`` (its id), ``do``, ``who`` (a person's name), and where the deed needs them
        ``reason`` and ``hours``.
        """
        ...

    def enter(self, asked: Mapping[str, Any]) -> str:
        """Enter by hand what no meter sees, and give its reference; ActionRefusedError says why not.

        `asked` holds ``event``, ``who`` and what that event needs.
        """
        ...

    def unsent(self) -> list[dict[str, Any]]:
        """Messages about alarms that did not arrive for certain."""
        ...

    def channels(self) -> list[dict[str, str]]:
        """Ways by which people are told of alarms: ``id`` and ``kind`` of each."""
        ...


class Sources:
    """Where the interface gets its answers from.

    Store calls run in a few threads of their own; equal questions about history
    within four seconds get one answer.
    """

    def __init__(
        self,
        store: SeriesStore,
        site: Site,
        clock: Callable[[], int],
        status: Callable[[], Mapping[str, Any]],
        actions: BoardActions | None,
        token: str,
    ) -> None:
        self.store = store
        self.site = site
        self.clock = clock
        self.status = status
        self.actions = actions
        self.token = token
        self.pool = ThreadPoolExecutor(2, thread_name_prefix="board-query")
        self.answers: dict[tuple[object, ...], asyncio.Task[bytes]] = {}
        self.shared = SharedAnswers(store, _SHARED_S)

    async def call(self, function: Callable[..., Any], *args: Any, waits: bool = True) -> Any:
        """Run a blocking call off the event loop; a store that is away is HTTP 503, a wrong question 400.

        What asks no store (`waits` false) does not stand behind those that wait for one.
        """
        pool = self.pool if waits else None
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, function, *args)
        except StoreUnavailableError as error:
            raise Refusal(503, reported(error)) from error
        except (StoreError, ScopeError, ValueError) as error:
            raise Refusal(400, reported(error)) from error

    async def retry(self, dead_letter: str) -> None:
        """Retry a dead letter, with errors as HTTP knows them."""
        if self.actions is None:
            raise Refusal(503, worded("dead letters cannot be retried here: no ingest in this process"))
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self.pool, self.actions.retry, dead_letter)
        except LookupError as error:
            why = worded("expected the key of a dead letter, got {got}", got=repr(dead_letter[:80]))
            raise Refusal(404, why) from error
        except ActionRefusedError as error:
            raise Refusal(409, reported(error)) from error

    async def act(self, asked: Mapping[str, Any]) -> None:
        """Do something about an alarm, with errors as HTTP knows them."""
        if self.actions is None:
            raise Refusal(503, worded("nothing can be done about alarms here: they live in another process"))
        try:
            await asyncio.get_running_loop().run_in_executor(self.pool, self.actions.act, asked)
        except ActionRefusedError as error:
            raise Refusal(409, reported(error)) from error

    async def enter(self, asked: Mapping[str, Any]) -> str:
        """Enter something by hand, with errors as HTTP knows them."""
        if self.actions is None:
            raise Refusal(503, worded("nothing can be entered here: no ingest in this process"))
        try:
            made: str = await asyncio.get_running_loop().run_in_executor(self.pool, self.actions.enter, asked)
        except ActionRefusedError as error:
            raise Refusal(409, reported(error)) from error
        return made

    def close(self) -> None:
        """Release the threads."""
        self.pool.shutdown(wait=False, cancel_futures=True)


def say_no(_: Request, error: Exception) -> Response:
    """A refusal as JSON: `detail` in English for programs, `told` for a page in whatever language it has."""
    assert isinstance(error, Refusal)
    body = orjson.dumps({"detail": error.detail, "told": tellable(error.why)})
    return Response(body, error.status_code, media_type=_JSON)


def router(sources: Sources) -> APIRouter:
    """Routes of the interface."""
    routes = APIRouter()
    _add_status(routes, sources)
    _add_history(routes, sources)
    _add_dead_letters(routes, sources)
    _add_alarms(routes, sources)
    return routes


def _add_status(routes: APIRouter, sources: Sources) -> None:
    @routes.get("/healthz")
    async def healthz() -> Response:
        return Response(b"ok\n", media_type="text/plain")

    @routes.get("/api/status")
    async def status() -> Response:
        return _json(await sources.call(sources.status))

    @routes.get("/api/query")
    async def query(request: Request) -> Response:
        shape = request.query_params.get("format", "json")
        if shape not in ("arrow", "csv", "json"):
            raise Refusal(400, worded("format: expected arrow, csv or json, got {got}", got=repr(shape[:80])))
        pairs = request.query_params.multi_items()
        return await sources.call(_answer, sources.store, pairs, shape)  # type: ignore[no-any-return]


def _answer(store: SeriesStore, pairs: list[tuple[str, str]], shape: str) -> Response:
    table = store.select(from_params(pairs))
    if shape == "arrow":
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return Response(bytes(sink.getvalue()), media_type=_ARROW)
    if shape == "csv":
        text = io.BytesIO()
        write_csv(_writable(table), text)
        return Response(text.getvalue(), media_type="text/csv; charset=utf-8")
    return _json(_plain_rows(table))


def _writable(table: pa.Table) -> pa.Table:
    """`table` with bytes as text, which CSV can hold."""
    for i, field in enumerate(table.schema):
        if pa.types.is_binary(field.type):
            texts = [
                None if v is None else v.decode("utf-8", "backslashreplace") for v in table[i].to_pylist()
            ]
            table = table.set_column(i, field.name, pa.array(texts, pa.string()))
    return table


def _plain_rows(table: pa.Table) -> list[dict[str, Any]]:
    return _writable(table).to_pylist()  # type: ignore[no-any-return]


def _add_history(routes: APIRouter, sources: Sources) -> None:
    @routes.get("/api/site")
    async def site(region: str = "", unit: str = "") -> Response:
        return _json(await sources.call(_site, sources.site, Scope(region, unit), waits=False))

    @routes.get("/api/networks")
    async def networks(region: str = "", unit: str = "") -> Response:
        return _json(await sources.call(_networks, sources.site, Scope(region, unit), waits=False))

    @routes.get("/api/panels/{panel_id}/history")
    async def history(
        panel_id: str,
        region: str = "",
        unit: str = "",
        device: str = "",
        start: Annotated[int | None, Query(alias="from", ge=-FARTHEST_MS, le=FARTHEST_MS)] = None,
        end: Annotated[int | None, Query(alias="to", ge=-FARTHEST_MS, le=FARTHEST_MS)] = None,
        points: Annotated[int, Query(ge=2, le=_MAX_POINTS)] = 400,
    ) -> Response:
        scope = Scope(region, unit, device)
        body = await history_bytes(sources, panel_id, scope, start, end, points)
        return Response(body, media_type=_JSON, headers={"cache-control": "no-store"})


async def history_bytes(
    sources: Sources, panel_id: str, scope: Scope, start: int | None, end: int | None, points: int
) -> bytes:
    """History of a panel as JSON; equal questions within four seconds are answered once."""
    try:
        _, wanted = panel(panel_id)
    except KeyError:
        raise Refusal(404, worded("expected the id of a panel, got {got}", got=repr(panel_id[:80]))) from None
    if wanted.kind not in _CHARTS:
        raise Refusal(404, worded("expected a panel with history, got {got}", got=repr(panel_id)))
    now_ms = sources.clock() // 1000 * 1000  # panels that ask within a second ask the same
    to_ms = now_ms + 1000 if end is None else end
    from_ms = to_ms - 86_400_000 if start is None else start
    _check_range(from_ms, to_ms)
    name = (panel_id, scope, start, end, points)
    kept = sources.answers.get(name)
    if kept is None:
        call = sources.call(_history, sources, wanted, scope, from_ms, to_ms, points, now_ms)
        kept = sources.answers[name] = asyncio.ensure_future(call)
        asyncio.get_running_loop().call_later(_CACHE_S, _forget, sources, name)
    try:
        return await asyncio.shield(kept)
    except HTTPException:
        sources.answers.pop(name, None)
        raise


def _check_range(from_ms: int, to_ms: int) -> None:
    if to_ms <= from_ms:
        raise Refusal(400, worded("expected a range that begins before it ends"))
    if (span_ms := to_ms - from_ms) > _MAX_RANGE_MS:
        days = f"{span_ms / 86_400_000:,.0f}"
        raise Refusal(400, worded("expected a range of at most 11 years, got {n} days", n=days))


def _forget(sources: Sources, name: tuple[object, ...]) -> None:
    sources.answers.pop(name, None)
    sources.shared.forget()


def _history(
    sources: Sources, wanted: Panel, scope: Scope, from_ms: int, to_ms: int, points: int, now_ms: int
) -> bytes:
    scope.check(sources.site)
    answer = panel_history(sources.shared, sources.site, wanted, scope, from_ms, to_ms, points, now_ms)
    return orjson.dumps(answer)


def _networks(site: Site, scope: Scope) -> list[dict[str, Any]]:
    scope.check(site)
    return [drawing(site, n) for n in networks_in(site, scope)]


def _site(site: Site, scope: Scope) -> dict[str, Any]:
    scope.check(site)
    return {
        "devices": [
            {
                "id": d.device,
                "name": d.name or d.device,
                "class": d.device_class,
                "unit": d.unit,
                "network": d.network,
                "region": site.region_of(d),
                "stale_ms": stale_ms(d),
                "silent_ms": silence_ms(d),
                "interval_s": d.interval_s,
                "accuracy_class": d.accuracy_class,
                "qp_m3_h": d.qp_m3_h,
                "mounting": d.mounting,
                "area_m2": d.area_m2,
            }
            for d in devices_in(site, scope)
            if d.device_class != "office"  # people enter through it: it is never late
        ],
        "places": [
            {
                "id": p.place,
                "name": p.name or p.place,
                "kind": p.kind,
                "lat_deg": p.lat_deg,
                "lon_deg": p.lon_deg,
                "radius_m": p.radius_m,
            }
            for p in _places(site, scope)
        ],
        "networks": [{"id": n.id, "name": n.name or n.id} for n in networks_in(site, scope)],
        "plates": {v.plate: v.device for v in site.vehicles.values() if v.device},
    }


def _places(site: Site, scope: Scope) -> list[Place]:
    """Places of the scope's units, those that are nobody's, and those that its contracts name."""
    units = {u.id for u in site.units.values() if scope.unit in {"", u.id} and scope.region in {"", u.region}}
    named = {p for c in site.contracts.values() if c.unit in units for p in (c.origin, c.destination)}
    return [p for _, p in sorted(site.places.items()) if p.unit in units or not p.unit or p.place in named]


def _add_dead_letters(routes: APIRouter, sources: Sources) -> None:
    @routes.get("/api/dead-letters")
    async def dead_letters(limit: Annotated[int, Query(ge=1, le=10_000)] = 200) -> Response:
        select = Select("dead_letter", newest_first=True, limit=limit)
        return _json(_plain_rows(await sources.call(sources.store.select, select)))

    @routes.post("/api/dead-letters/{key:path}/retry")
    async def retry(key: str, x_hearthline_token: Annotated[str, Header()] = "") -> Response:
        _check_token(sources, x_hearthline_token)
        await sources.retry(key)
        return _json({"retried": key})


def _check_token(sources: Sources, token: str) -> None:
    if not sources.token or not hmac.compare_digest(token.encode(), sources.token.encode()):
        raise Refusal(403, worded("expected the header X-Hearthline-Token with this server's token"))


def _add_alarms(routes: APIRouter, sources: Sources) -> None:
    @routes.get("/api/alarms/unsent")
    async def unsent() -> Response:
        return _json([] if sources.actions is None else await sources.call(sources.actions.unsent))

    @routes.get("/api/alarms/channels")
    async def channels() -> Response:
        return _json([] if sources.actions is None else sources.actions.channels())

    @routes.get("/api/alarms/trend")
    async def of_alarm(alarm: str) -> Response:
        try:
            return _json(await sources.call(trend, sources.store, sources.site, alarm))
        except LookupError as error:
            raise Refusal(404, reported(str(error.args[0]))) from error

    @routes.post("/api/alarms/act")
    async def act(request: Request, x_hearthline_token: Annotated[str, Header()] = "") -> Response:
        _check_token(sources, x_hearthline_token)
        asked = await _object(request)
        await sources.act(asked)
        return _json({"done": asked.get("alarm"), "do": asked.get("do")})

    @routes.post("/api/entries")
    async def enter(request: Request, x_hearthline_token: Annotated[str, Header()] = "") -> Response:
        _check_token(sources, x_hearthline_token)
        return _json({"ref": await sources.enter(await _object(request))})


async def _object(request: Request) -> dict[str, Any]:
    """The JSON object that a request carries."""
    body = await request.body()
    try:
        asked = orjson.loads(body) if len(body) <= _MOST_ASKED else None
    except orjson.JSONDecodeError:
        asked = None
    if not isinstance(asked, dict):
        raise Refusal(400, worded("expected JSON of an object of at most {n} bytes", n=str(_MOST_ASKED)))
    return asked


def _json(value: Any) -> Response:
    body = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY, default=str)
    return Response(body, media_type=_JSON, headers={"cache-control": "no-store"})
