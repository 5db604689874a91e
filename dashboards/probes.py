"""`/health`, `/ready` and `/metrics`: for supervisors and Prometheus, behind the doors of every route.

A process without a board answers `hearthline status` at `/api/status` with its parts as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

import orjson
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboards.doors import Doors

__all__ = ["Probes", "probe_app", "probe_routes"]

_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
_FRESH: Final = {"cache-control": "no-store"}


class Probes(Protocol):
    """What a process can say of itself."""

    def components(self) -> Sequence[Mapping[str, Any]]:
        """State and detail of each part."""
        ...

    def metrics(self) -> bytes:
        """Everything in Prometheus' text format."""
        ...


def probe_routes(probes: Probes) -> list[Route]:
    """The three routes.

    `/health` is 200 while no part has failed for good; a supervisor starts the process again when it is
    not. `/ready` is 200 while every part is ok, else 503, with the parts either way.
    """
    # One thread of their own: a store that hangs must not take those of the pages, nor the event loop.
    pool = ThreadPoolExecutor(1, thread_name_prefix="probe")

    async def ask(function: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(pool, function)

    async def health(_: Request) -> Response:
        failed = [c["name"] for c in await ask(probes.components) if c["state"] == "failed"]
        text = f"failed: {', '.join(failed)}\n" if failed else "ok\n"
        return Response(text, 503 if failed else 200, _FRESH, "text/plain")

    async def ready(_: Request) -> Response:
        parts = await ask(probes.components)
        good = all(part["state"] == "ok" for part in parts)
        body = orjson.dumps({"ready": good, "components": parts})
        return Response(body, 200 if good else 503, _FRESH, "application/json")

    async def metrics(_: Request) -> Response:
        return Response(await ask(probes.metrics), 200, {**_FRESH, "content-type": _TEXT})

    return [Route("/health", health), Route("/ready", ready), Route("/metrics", metrics)]


def probe_app(probes: Probes) -> Starlette:
    """An application of these routes alone, for a process without a board."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="status")

    async def status(_: Request) -> Response:
        parts = await asyncio.get_running_loop().run_in_executor(pool, probes.components)
        return Response(orjson.dumps({"components": parts}), 200, _FRESH, "application/json")

    routes = [*probe_routes(probes), Route("/api/status", status)]
    return Starlette(routes=routes, middleware=[Middleware(Doors, state={})])
