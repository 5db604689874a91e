"""Dashboards into a Grafana that runs: a folder for each region and unit, its pages narrowed to it.

Everything that is known of Grafana's interface is here, behind `grafana_api`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from grafana_api.grafana_api import GrafanaClientError, GrafanaException
from grafana_api.grafana_face import GrafanaFace

from dashboards.grafana import render
from dashboards.language import LANGUAGES
from dashboards.panels import pages
from dashboards.scope import Scope
from models.site import Site

__all__ = ["Folder", "PushError", "Pushed", "folders_of", "push"]

_TIMEOUT_S: Final = 20.0
_ITS_OWN: Final = frozenset({"id", "version"})  # what Grafana adds to a dashboard
_ADVICE: Final = {
    400: "it refuses what it was sent; is it a Grafana 11, and not one whose dashboards of these names come "
    "from files?",
    401: "is the token one of a service account of this Grafana, and not past its end? Make a new one under "
    "Administration, Service accounts",
    403: "the token lacks rights here: give its service account the role Editor",
    404: "is the address that of Grafana, with its sub-path, if it has one?",
    409: "another folder of that name is there: rename or delete it in Grafana, then push again",
    412: "somebody saved it meanwhile, or another of that name lies in the folder: look at it in Grafana, "
    "then push again",
    429: "it is asked too much: push again later",
}
_LATER: Final = "it cannot do it now: look at its log, then push again"


class PushError(Exception):
    """Grafana did not take something; says what, what came and what to do. What was pushed before stays."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder in Grafana, for what lies in a scope."""

    uid: str
    title: str
    scope: Scope


@dataclass(slots=True)
class Pushed:
    """Titles by what became of them: made, changed, left as they were."""

    made: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)


def folders_of(site: Site) -> list[Folder]:
    """A folder for each region that has units, then one for each of its units."""
    found = []
    for name, region in sorted(site.regions.items()):
        units = sorted((u for u in site.units.values() if u.region == name), key=lambda u: u.id)
        if units:
            found.append(Folder(_uid("region", name), region.name, Scope(region=name)))
        found += [Folder(_uid("unit", u.id), f"{region.name} · {u.name}", Scope(unit=u.id)) for u in units]
    return found


def push(site: Site, url: str, token: str, bucket: str, readings: str, done: Pushed) -> None:
    """Make Grafana have every page for every region and unit, in every language; note in `done` what became.

    What is there already and the same is left alone; nothing is deleted.

    Raises
    ------
    PushError
    """
    grafana = _Grafana(url, token)
    for folder in folders_of(site):
        grafana.keep_folder(folder, done)
        for page in pages():
            for language in LANGUAGES:
                document = json.loads(render(page, language, bucket, readings, folder.scope))
                document["uid"] = _uid(folder.uid, page.id, language)
                document["title"] = f"{document['title']} · {folder.title}"
                grafana.keep_dashboard(document, folder, done)


def _uid(*words: str) -> str:
    """A name of at most 40 plain characters, the same for the same words."""
    return f"hearthline-{hashlib.sha256(json.dumps(words).encode()).hexdigest()[:24]}"


class _Grafana:
    """One Grafana, its refusals told in a line."""

    def __init__(self, url: str, token: str):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            msg = f"expected Grafana's address, such as http://127.0.0.1:3000, got {url!r}"
            raise PushError(msg)
        self._where = f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
        path = parts.path.strip("/")
        self._face: Any = GrafanaFace(
            token,
            host=parts.netloc,
            protocol=parts.scheme,
            url_path_prefix=f"{path}/" if path else "",
            timeout=_TIMEOUT_S,
        )

    def keep_folder(self, folder: Folder, done: Pushed) -> None:
        """Make the folder, or give it its title."""
        what = f"folder {folder.title!r}"
        there = self._found(what, lambda: self._face.folder.get_folder(folder.uid))
        if there is None:
            self._asked(what, lambda: self._face.folder.create_folder(folder.title, folder.uid))
            done.made.append(folder.title)
        elif there.get("title") != folder.title:
            version = there.get("version")
            self._asked(what, lambda: self._face.folder.update_folder(folder.uid, folder.title, version))
            done.changed.append(folder.title)
        else:
            done.same.append(folder.title)

    def keep_dashboard(self, document: dict[str, Any], folder: Folder, done: Pushed) -> None:
        """Save the dashboard into its folder, if it is not there like that."""
        title, what = document["title"], f"dashboard {document['title']!r}"
        answer = self._found(what, lambda: self._face.dashboard.get_dashboard(document["uid"]))
        there = (answer or {}).get("dashboard") or {}
        in_place = answer is not None and (answer.get("meta") or {}).get("folderUid") == folder.uid
        if in_place and _content(there) == _content(document):
            done.same.append(title)
            return
        # With the version that was looked at: what somebody saves in between is refused, not overwritten.
        own = {name: there[name] for name in _ITS_OWN if name in there}
        body = {"dashboard": {**document, **own}, "folderUid": folder.uid, "message": "hearthline"}
        self._asked(what, lambda: self._face.dashboard.update_dashboard(body))
        (done.made if answer is None else done.changed).append(title)

    def _found(self, what: str, ask: Callable[[], Any]) -> dict[str, Any] | None:
        """What Grafana has, None when it says in its own words that it has no such thing."""

        def look() -> Any:
            try:
                return ask()
            except GrafanaClientError as error:
                if error.status_code == 404 and isinstance(error.response, dict):
                    return None
                raise

        return self._asked(what, look)

    def _asked(self, what: str, ask: Callable[[], Any]) -> dict[str, Any] | None:
        try:
            answer = ask()
        except GrafanaException as error:
            code = int(error.status_code)
            advice = _ADVICE.get(code, _LATER if code >= 500 else "the request was not expected")
            msg = f"{self._where}: {what}: got HTTP {code} {_said(error)}: {advice}"
            raise PushError(msg) from error
        except (requests.exceptions.RequestException, ValueError) as error:
            came = f"got {type(error).__name__}: is it up, and is that its address?"
            msg = f"{self._where}: {what}: expected an answer of Grafana, {came}"
            raise PushError(msg) from error
        if answer is not None and not isinstance(answer, dict):
            msg = f"{self._where}: {what}: expected an answer of Grafana, got {str(answer)[:80]!r}"
            raise PushError(msg)
        return answer


def _content(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in _ITS_OWN}


def _said(error: GrafanaException) -> str:
    """The server's words in one line."""
    response = error.response
    text = response.get("message", "") if isinstance(response, dict) else response
    return " ".join(str(text).split())[:200]
