"""Write docs/glossary.md from the measurement table and the list of terms.

Usage: python tools/glossary.py
"""

# ruff: noqa: INP001  a script, not part of a package
from __future__ import annotations

from pathlib import Path

from models.glossary import markdown

if __name__ == "__main__":
    target = Path(__file__).parent.parent / "docs" / "glossary.md"
    target.write_text(markdown(), encoding="utf-8")
