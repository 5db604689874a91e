"""Every anomaly that an operator tells of has a name for people, and rules may name it."""

import re
from pathlib import Path

import streams.operators
from alerts.codes import NAMES
from models.fault_codes import CODES
from streams.operators.fulfilment import SHORTFALL

OPERATORS = Path(streams.operators.__file__).parent


def test_every_fault_of_substations_has_a_name():
    assert CODES.keys() <= NAMES.keys()


def test_every_code_that_an_operator_spells_out_has_a_name():
    """Constants called CODE, and codes in the words of an anomaly's call."""
    spelt = {SHORTFALL}
    for path in OPERATORS.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        spelt |= set(re.findall(r'^_?CODE: Final = "(\w+)"', text, re.MULTILINE))
        spelt |= set(re.findall(r'\.say\(\s*[^,]+,\s*"(\w+)"', text))
    assert {"wrong_mounting", "frozen_value", "detention", "route_deviation"} <= spelt
    assert spelt <= NAMES.keys(), sorted(spelt - NAMES.keys())
