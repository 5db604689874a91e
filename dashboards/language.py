"""The catalogue: every text of the board in English and Chinese.

Texts of the frame are looked up by their English wording in the .po file;
panels carry both languages in their own file, measurements in their table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from babel.messages.pofile import read_po

from dashboards.panels import Text
from models.wording import Worded

__all__ = ["LANGUAGES", "catalogue", "choose", "in_words", "pick", "plain"]

LANGUAGES: Final = ("zh", "en")
_UNITS: Final = {
    "m3_h": "m³/h", "m3_day": "m³/d", "gj_day": "GJ/d", "kw_k": "kW/K", "w_m2": "W/m²", "m_s": "m/s",
    "m3": "m³", "kpa": "kPa", "gj": "GJ", "kw": "kW", "c": "°C", "k": "K", "pct": "%", "hz": "Hz", "kg": "kg",
    "t": "t", "km": "km", "m": "m", "s": "s", "h": "h", "ms": "",
}  # fmt: skip
"""Units as names end with them; a time in ms is written as a time."""
_FIELD: Final = re.compile(rf"(?P<name>[a-z0-9_]+?)_(?P<unit>{'|'.join(_UNITS)})")
_LOCALE: Final = Path(__file__).parent / "locale"


@cache
def catalogue(language: str) -> dict[str, str]:
    """Texts of the frame by their English wording; a code that is given no English words keeps its own."""
    chinese = _read("zh")
    return chinese if language == "zh" else {text: plain(text) for text in chinese} | _read("en")


def _read(language: str) -> dict[str, str]:
    with (_LOCALE / language / "LC_MESSAGES" / "board.po").open("rb") as file:
        return {str(m.id): str(m.string) for m in read_po(file, locale=language) if m.id}


def plain(text: str) -> str:
    """A code such as `unknown_device` as words, a field's name with its unit as people write it.

    Examples
    --------
    >>> plain("unknown_device"), plain("dp_kpa"), plain("usual_u_m3_h"), plain("no_ground_c")
    ('unknown device', 'dp kPa', 'usual ± m³/h', 'no ground c')
    """
    found = _FIELD.fullmatch(text)
    lacking = text.startswith("no_")  # a reason: what is not registered, by the name that it would have
    if found is None or lacking:
        return text.replace("_", " ")
    name = re.sub(r"_u$", " ±", found["name"]).replace("_", " ")
    return f"{name} {_UNITS[found['unit']]}".rstrip()


def in_words(text: str, texts: Mapping[str, str]) -> str:
    """`text` by a catalogue, as `says` of the page's scripts has it."""
    if not isinstance(text, Worded):
        return text
    values = {name: in_words(value, texts) for name, value in text.values.items()}
    if not text.wording:
        return texts.get(", ", ", ").join(values.values())
    return texts.get(text.wording, plain(text.wording)).format_map(values)


def pick(text: Text, language: str) -> str:
    """`text` in `language`."""
    return text.zh if language == "zh" else text.en


def choose(*wishes: str | None) -> str:
    """The first language of the board among `wishes`, each a code or an Accept-Language header."""
    for wish in wishes:
        for part in _preferences(wish or ""):
            if part in LANGUAGES:
                return part
    return LANGUAGES[0]


def _preferences(header: str) -> Iterable[str]:
    return (part.split(";")[0].strip().split("-")[0].lower() for part in header.split(","))
