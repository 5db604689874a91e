"""What people are told, in their language: what, where, since when, why, and where it is explained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

from babel.messages.pofile import read_po

from alerts.alarm import Note
from alerts.codes import name_of
from models.anomaly import Severity
from models.site import Site

__all__ = ["Writer", "names_of", "text_of"]

_PO: Final = Path(__file__).parent / "locale" / "zh" / "LC_MESSAGES" / "alerts.po"
_SAID: Final = {
    Note.RAISED: "raised",
    Note.REALARMED: "raised again",
    Note.WORSENED: "got worse",
    Note.ESCALATED: "nobody has acknowledged it",
    Note.CLEARED: "cleared",
    Note.ACKNOWLEDGED: "acknowledged",
    Note.SHELVED: "shelved",
    Note.SUPPRESSED: "suppressed",
    Note.CLOSED: "closed",
    Note.WITHDRAWN: "was none: later data took it back",
}
_BEGINS: Final = frozenset({Note.RAISED, Note.REALARMED, Note.WORSENED, Note.ESCALATED})
_MOST: Final = 20  # alarms that a message spells out
_NUMBERS: Final = 8  # of the evidence
_COSTS: Final = {
    "cost_gj_day": "leaving it costs {cost} GJ a day", "cost_m3_day": "leaving it costs {cost} m³ a day",
}  # fmt: skip
_TOLD_APART: Final = frozenset({"rule", "window_s", "learnt_days", *_COSTS})

Letter = Mapping[str, Any]


@cache
def _catalogue() -> dict[str, str]:
    with _PO.open("rb") as file:
        return {str(m.id): str(m.string) for m in read_po(file, locale="zh") if m.id}


def text_of(text: str, language: str, **values: object) -> str:
    """`text` in `language`, with its values.

    Examples
    --------
    >>> text_of("{count} alarms", "zh", count=3)
    '3 条告警'
    """
    return (_catalogue()[text] if language == "zh" else text).format(**values)


def names_of(site: Site) -> dict[str, str]:
    """What people call what a message is about, by its id: regions, units, devices, networks and places."""
    return {
        **{r.id: r.name for r in site.regions.values()},
        **{u.id: u.name for u in site.units.values()},
        **{d.device: d.name for d in site.devices.values()},
        **{n.id: n.name for n in site.networks.values()},
        **{p.place: p.name for p in site.places.values()},
    }


class Writer:
    """Writes messages of one site.

    Parameters
    ----------
    names : mapping
        `names_of` the site.
    zone : ZoneInfo
        Times are the site's.
    board_url : str
        Where the board is.
    """

    def __init__(self, names: Mapping[str, str], zone: ZoneInfo, board_url: str):
        self._names = names
        self._zone = zone
        self._board_url = board_url

    def write(self, letters: Sequence[Letter], language: str) -> tuple[str, str]:
        """Subject and text of a message made of `letters`, the most severe first."""
        groups: dict[str, list[Letter]] = {}
        for letter in letters:
            groups.setdefault(letter["alarm"], []).append(letter)
        rank = list(Severity)
        ordered = sorted(
            groups.values(), key=lambda g: (rank.index(Severity(g[-1]["severity"])), g[0]["at_ms"])
        )
        heads = [self._head(group, language) for group in ordered]
        subject = heads[0]
        if len(heads) > 1:
            subject = f"{text_of('{count} alarms', language, count=len(heads))}: {heads[0]}"
        parts = [self._part(head, group, language) for head, group in zip(heads, ordered, strict=True)]
        more = [f"… + {len(parts) - _MOST}"] if len(parts) > _MOST else []
        return subject, "\n\n".join([*parts[:_MOST], *more]) + "\n"

    def link(self, alarm: str, language: str) -> str:
        """The page that explains an alarm."""
        return f"{self._board_url}/alarms?lang={language}&alarm={quote(alarm, safe='')}"

    def _head(self, group: Sequence[Letter], language: str) -> str:
        last = group[-1]
        notes = [Note(letter["note"]) for letter in group]
        if notes[-1] in {Note.CLEARED, Note.WITHDRAWN} and _BEGINS & set(notes[:-1]):
            said = "raised, and cleared since" if notes[-1] is Note.CLEARED else _SAID[Note.WITHDRAWN]
        else:
            said = _SAID[notes[-1]]
        severity = text_of(last["severity"], language)
        what = name_of(last["code"], language)
        if last["code"] == "shared_cause" and last["evidence"].get("code"):
            count = last["evidence"].get("count", "?")
            whose = name_of(str(last["evidence"]["code"]), language)
            what = f"{what}: {text_of('{count} of {whose}', language, count=count, whose=whose)}"
        return f"[{severity}] {self._name(last['subject'])} {what}: {text_of(said, language)}"

    def _name(self, subject: str) -> str:
        own = self._names.get(subject) or self._names.get(subject.partition(":")[2])
        return f"{own} ({subject})" if own and own != subject else subject

    def _part(self, head: str, group: Sequence[Letter], language: str) -> str:
        last = group[-1]
        moment = datetime.fromtimestamp(last["first_ms"] / 1000, self._zone)
        facts = [text_of("since {time}", language, time=f"{moment:%Y-%m-%d %H:%M}")]
        if last["score"]:
            facts.append(text_of("score {score}", language, score=f"{last['score']:.3g}"))
        if last["owner"]:
            facts.append(text_of("owner {who}", language, who=last["owner"]))
        if last["provisional"]:
            facts.append(text_of("said on data that may still change", language))
        evidence = self._evidence(last["evidence"])
        return "\n".join([
            head, ", ".join(facts), *([evidence] if evidence else []), *_costs(last["evidence"], language),
            self.link(last["alarm"], language),
        ])  # fmt: skip

    def _evidence(self, said: Mapping[str, Any]) -> str:
        """The rule first, then the numbers that it compared."""
        numbers = said.get("numbers")
        told = {**said, **(numbers if isinstance(numbers, Mapping) else {})}
        plain = [
            f"{name} {value:.4g}"
            if isinstance(value, float)
            else f"{name} {(self._names.get(value) if isinstance(value, str) else None) or value}"
            for name, value in told.items()
            if isinstance(value, int | float | str)
            and not isinstance(value, bool)
            and name not in _TOLD_APART
        ]
        rule = [str(said["rule"])] if said.get("rule") else []
        return "; ".join([*rule, *plain[:_NUMBERS]])


def _costs(said: Mapping[str, Any], language: str) -> list[str]:
    """What it costs to leave it, where that is known."""
    return [
        text_of(text, language, cost=f"{said[name]:.3g}")
        for name, text in _COSTS.items()
        if isinstance(said.get(name), int | float) and said[name] > 0
    ]
