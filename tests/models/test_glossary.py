"""The glossary in docs says what the tables say."""

from pathlib import Path

from models.glossary import TERMS, markdown
from models.measurements import MEASUREMENTS

ROOT = Path(__file__).parents[2]


def test_the_document_is_what_the_tables_give():
    written = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    assert written == markdown(), "run: python tools/glossary.py"


def test_every_measurement_and_term_stands_in_it_once():
    rows = [line for line in markdown().splitlines() if line.startswith("| ")]
    first_cells = [row.split(" | ")[0].removeprefix("| ") for row in rows]
    for m in MEASUREMENTS:
        assert first_cells.count(f"`{m.name}`") == 1
    assert len({t.en for t in TERMS}) == len(TERMS)
    assert [t.en for t in TERMS] == sorted((t.en for t in TERMS), key=str.lower)


def test_every_term_is_named_in_both_languages():
    for named in (*TERMS, *MEASUREMENTS):
        assert named.en
        assert any("\u4e00" <= character <= "\u9fff" for character in named.zh), named.zh
