"""The frame of every page: what it is about, how old it is, and the way to the others."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from dashboards.language import pick
from dashboards.panels import Page, pages
from models.site import Site

__all__ = ["frame", "link", "site_label"]


def link(text: str, url: str) -> TextElement:
    """A plain link.

    NiceGUI's own is a template that Vue compiles with `eval`, which our content security policy forbids.
    """
    element = TextElement(tag="a", text=text)
    element.props["href"] = url
    return element


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
) -> None:
    """Build the page's header with NiceGUI elements; their texts are never taken for HTML.

    Parameters
    ----------
    kept : mapping
        Query parameters that links carry along.
    """
    if simulated:
        ui.label(texts["SIMULATED: these values come from a simulator, not from a plant"]).classes(
            "hl-simulated"
        )
    with ui.element("header").classes("hl-header"):
        link("Hearthline", _url("/", kept)).classes("hl-brand")
        with ui.element("nav").classes("hl-nav"):
            for other in pages():
                target = link(pick(other.title, language), _url(_path(other, site, device), kept))
                if other.id == page.id:
                    target.classes("hl-here").props('aria-current="page"')
        ui.element("div").classes("hl-scope").props('id="hl-scope"')
        ui.element("div").classes("hl-live").props('id="hl-live"')
        with ui.element("div").classes("hl-switches"):
            here = _path(page, site, device)
            _switches(here, kept, "lang", language, (("zh", "中文"), ("en", "EN")))
            light, dark = texts["light"], texts["dark"]
            _switches(here, kept, "theme", theme, (("light", light), ("dark", dark)))


def _switches(
    path: str, kept: Mapping[str, str], name: str, now: str, choices: tuple[tuple[str, str], ...]
) -> None:
    with ui.element("div").classes("hl-switch"):
        for value, label in choices:
            target = link(label, _url(path, {**kept, name: value})).props(f'data-set="{name}={value}"')
            if value == now:
                target.classes("hl-here").props('aria-current="true"')


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
