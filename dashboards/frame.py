"""The frame of every page: what it is about, how old it is, and the way to the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from dashboards.language import pick
from dashboards.panels import Page, pages
from models.site import Site

__all__ = ["frame", "site_label"]


def site_label(site: Site) -> str:
    """The site's name, or its id when it has none."""
    return site.name or site.id


def frame(
    site: Site,
    page: Page,
    device: str,
    language: str,
    theme: str,
    texts: Mapping[str, str],
    kept: Mapping[str, str],
    simulated: bool,
) -> dict[str, Any]:
    """The page's header as data; its texts never become HTML.

    As data rather than as elements of NiceGUI: those of a header were half of a page's objects in memory.

    Parameters
    ----------
    kept : mapping
        Query parameters that links carry along.

    Returns
    -------
    dict
        ``language``, ``simulated`` (empty where values are not), ``home``, and of links ``pages`` and
        ``switches``, each with ``text``, ``url`` and ``here``, a switch's also with what it sets.
    """
    here = _path(page, site, device)
    themes = (("light", texts["light"]), ("dark", texts["dark"]))
    return {
        "language": "zh-CN" if language == "zh" else language,
        "simulated": texts["SIMULATED: these values come from a simulator, not from a plant"]
        if simulated
        else "",
        "home": _url("/", kept),
        "pages": [
            {
                "text": pick(other.title, language),
                "url": _url(_path(other, site, device), kept),
                "here": other.id == page.id,
            }
            for other in pages()
        ],
        "switches": [
            _switch(here, kept, "lang", language, (("zh", "中文"), ("en", "EN"))),
            _switch(here, kept, "theme", theme, themes),
        ],
    }


def _switch(
    path: str, kept: Mapping[str, str], name: str, now: str, choices: tuple[tuple[str, str], ...]
) -> list[dict[str, Any]]:
    return [
        {
            "text": label,
            "url": _url(path, {**kept, name: value}),
            "here": value == now,
            "set": f"{name}={value}",
        }
        for value, label in choices
    ]


def _path(page: Page, site: Site, device: str) -> str:
    if "{device}" not in page.path:
        return page.path
    target = device or next(
        (d.device for _, d in sorted(site.devices.items()) if d.device_class == "substation"),
        next(iter(sorted(site.devices)), ""),
    )
    return page.path.replace("{device}", quote(target, safe=""))


def _url(path: str, kept: Mapping[str, str]) -> str:
    query = urlencode({k: v for k, v in kept.items() if v})
    return f"{path}?{query}" if query else path
