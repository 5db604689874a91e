"""How tests are spread over processes: what the lists of conftest.py name is there."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_file_and_room_that_is_named_is_there():
    spec = importlib.util.spec_from_file_location("spread", ROOT / "conftest.py")
    spread = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(spread)
    assert [f for f in spread.IN_TURN if not (ROOT / f).is_file()] == []
    assert [r for r in spread.LONG if (ROOT / r).is_dir() != r.endswith("/") or not (ROOT / r).exists()] == []
    queue = [
        "models/heat.py::doctest",
        "tests/laws/test_sinks.py::test_a",
        f"{spread.WAITING[0]}::test_c",
        f"{spread.TIMED[0]}::test_b[x::y]",
    ]
    assert sorted(queue, key=spread.place) == queue[::-1]
