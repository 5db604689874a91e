"""A measured figure beside its goal."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Figure", "table"]


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured and what it should be.

    Attributes
    ----------
    name : str
    value : float
    unit : str
    goal : float or None
        None for one that stands there for comparison.
    above : bool
        Whether the goal is a least value; else it is a greatest.
    """

    name: str
    value: float
    unit: str
    goal: float | None = None
    above: bool = False

    @property
    def met(self) -> bool:
        """Whether it is as it should be."""
        if self.goal is None:
            return True
        return self.value >= self.goal if self.above else self.value <= self.goal

    def row(self) -> list[str]:
        """Name, figure, goal, their ratio and the verdict."""
        unit = f" {self.unit}" if self.unit else ""
        if self.goal is None:
            return [self.name, f"{_text(self.value)}{unit}", "", "", ""]
        sign = "≥" if self.above else "≤"
        verdict = "met" if self.met else "MISSED"
        ratio = f"{self.value / self.goal:.2f}"
        return [self.name, f"{_text(self.value)}{unit}", f"{sign} {_text(self.goal)}{unit}", ratio, verdict]


def _text(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(figures: list[Figure]) -> str:
    """The figures as a table in Markdown."""
    rows = [["what", "figure", "goal", "figure/goal", ""], *(figure.row() for figure in figures)]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)
