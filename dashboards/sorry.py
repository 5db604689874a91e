"""Pages for addresses that lead nowhere and for what the board fails on: plain, as little else may work.

NiceGUI's own are compiled in the browser with `eval`, which our content security policy forbids: they
stay white.
"""

from __future__ import annotations

import html
import logging
from collections.abc import Mapping
from typing import Final

from fastapi import Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import HTMLResponse, Response
from nicegui import core
from starlette.exceptions import HTTPException

from dashboards.language import catalogue, choose

__all__ = ["install"]

_PAGE: Final = """<!doctype html><html lang="{lang}"><head><meta charset="utf-8"><title>Hearthline</title>
<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="{assets}/board.css"></head>
<body><div class="hl hl-{theme}">
<header class="hl-header"><a class="hl-brand" href="/">Hearthline</a></header>
<main class="hl-apology"><div class="hl-apology-title">{title}</div><div>{why}</div>
<a href="/">{back}</a></main></div></body></html>"""
_log = logging.getLogger(__name__)


def install(assets: str) -> None:
    """Have NiceGUI's application say sorry with our own pages; the style sheet is below `assets`."""

    async def nowhere(request: Request, error: Exception) -> Response:
        if _of_a_program(request) and isinstance(error, HTTPException):
            return await http_exception_handler(request, error)
        texts = _texts(request)
        return _page(request, 404, assets, texts["This page does not exist"], request.url.path[:200])

    async def failed(request: Request, error: Exception) -> Response:
        _log.error("the board failed on %s", request.url.path, exc_info=error)
        texts = _texts(request)
        why = texts["It is in the server's log. Loading the page again may help."]
        return _page(request, 500, assets, texts["This page could not be made"], why)

    core.app.add_exception_handler(404, nowhere)
    core.app.add_exception_handler(Exception, failed)


def _of_a_program(request: Request) -> bool:
    return request.url.path.startswith(("/api/", "/assets/", "/_nicegui"))


def _language(request: Request) -> str:
    asked = request.query_params.get("lang"), request.cookies.get("hl_lang")
    return choose(*asked, request.headers.get("accept-language"))


def _texts(request: Request) -> Mapping[str, str]:
    return catalogue(_language(request))


def _page(request: Request, status: int, assets: str, title: str, why: str) -> Response:
    texts, language = _texts(request), _language(request)
    dark = "dark" in (request.query_params.get("theme"), request.cookies.get("hl_theme"))
    body = _PAGE.format(
        lang="zh-CN" if language == "zh" else "en",
        theme="dark" if dark else "light",
        assets=assets,
        title=html.escape(title),
        why=html.escape(why),
        back=html.escape(texts["Go to the overview"]),
    )
    return HTMLResponse(body, status)
