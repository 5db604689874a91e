"""What names an event, so that the same one in two messages is told from two."""

from __future__ import annotations

from typing import Final

__all__ = ["EVENT_NAMES"]

EVENT_NAMES: Final = {"weighbridge": ("ticket", "step"), "lab": ("lot", "end"), "office": ("ref",)}
"""By event class the measurements that name an event together; one that lacks any of them has no name."""
