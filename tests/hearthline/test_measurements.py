"""What may be asked for is what the protocol lists as results, whether or not there is a row of it yet."""

from __future__ import annotations

import re
from pathlib import Path

from hearthline.measurements import measurement_names

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"
ASKED_BY_COMMANDS_OF_THEIR_OWN = {"dead_letter", "store_refused"}


def test_every_result_of_the_protocol_and_no_inner_name(tmp_path):
    text = PROTOCOL.read_text(encoding="utf-8")
    results = text[text.index("\n## Results\n") : text.index("\nA field with `_u_`")]
    listed = set(re.findall(r"^\| `(\w+)` \|", results, re.MULTILINE)) - {"coverage", "status", "reason"}
    listed -= {"revision", "model"}
    assert len(listed) > 35
    assert set(measurement_names(tmp_path, None)) - ASKED_BY_COMMANDS_OF_THEIR_OWN == listed
