"""docs/simulator.md says what the code knows."""

from pathlib import Path

from simulator.kinds import GROWING, KINDS

PAGE = Path(__file__).parents[2] / "docs" / "simulator.md"


def rows():
    """The table of kinds as it should be."""
    return [
        f"| `{name}` | {kind.on} | {kind.size or 'none'} | {'yes' if name in GROWING else ''} "
        f"| {kind.deadline_h:g} | {kind.shows} |"
        for name, kind in KINDS.items()
    ]


def test_every_kind_has_its_row():
    table = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    named = [line for line in table if line.split("`")[1] in KINDS]
    assert named == rows(), "the table should be:\n" + "\n".join(rows())


def test_nothing_is_left_to_be_filled_in():
    page = PAGE.read_text(encoding="utf-8")
    assert "KINDS_TABLE" not in page
    assert "TODO" not in page
