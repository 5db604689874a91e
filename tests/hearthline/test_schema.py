"""`hearthline schema` says what the payload models accept."""

import json

import jsonschema
import pytest

from models.wire import PAYLOADS
from tests.support.system import ended

ACCEPTED = {
    "telemetry": {"boot": 1767225600123, "seq": 17, "samples": [{"t": 1767225610000, "supply_c": 92.1, "x": "a"}]},
    "birth": {"boot": 1, "at": 2, "class": "substation", "interval_s": 10, "collector": "hearthline-edge 0.1.0"},
    "state": {"boot": 1, "at": 2, "next_seq": 18, "waiting": [[12, 17]], "waiting_from": 3, "thinned": []},
    "death": {"boot": 1},
    "ack": {"boot": 1, "ranges": [[12, 17]]},
    "command": {"id": "r1", "at": 2, "do": "resend", "ranges": [[12, 14]]},
}  # fmt: skip
REFUSED = {
    "telemetry": {"boot": 1, "seq": 17, "samples": []},
    "birth": {"boot": 1, "at": 2, "class": "substation"},
    "state": {"boot": 1, "at": 2, "next_seq": 0},
    "death": {"boot": "1"},
    "ack": {"boot": 1, "ranges": [[12]]},
    "command": {"id": "r1", "at": 2, "do": "format"},
}


@pytest.fixture(scope="module")
def schemas() -> dict[str, dict]:
    result = ended("schema", "--json")
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 1
    return json.loads(result.stdout)


def test_there_is_one_for_each_payload(schemas: dict[str, dict]):
    assert list(schemas) == list(PAYLOADS)


@pytest.mark.parametrize("kind", PAYLOADS)
def test_schema_and_model_agree(schemas: dict[str, dict], kind: str):
    jsonschema.Draft202012Validator.check_schema(schemas[kind])
    validator = jsonschema.Draft202012Validator(schemas[kind])
    validator.validate(ACCEPTED[kind])
    PAYLOADS[kind].model_validate_json(json.dumps(ACCEPTED[kind]))
    assert not validator.is_valid(REFUSED[kind])
    with pytest.raises(ValueError, match="validation error"):
        PAYLOADS[kind].model_validate_json(json.dumps(REFUSED[kind]))


def test_one_kind_alone_is_pretty(schemas: dict[str, dict]):
    result = ended("schema", "birth")
    assert json.loads(result.stdout) == schemas["birth"]
    assert "class" in schemas["birth"]["required"], "the name on the wire"
    assert len(result.stdout.splitlines()) > 10


def test_an_unknown_kind_is_wrong_usage():
    result = ended("schema", "sighs")
    assert result.returncode == 2
    assert result.stderr == (
        "hearthline: KIND: expected one of telemetry, birth, state, death, ack, command, got 'sighs'\n"
    )
