"""The authority on what a payload means: the wire's pydantic models, one message at a time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from reprlib import Repr
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
from pydantic import ValidationError
from pydantic_core import from_json

from ingest.block import EXTRA, Block
from ingest.messages import Reason, Refusal
from models.frame import telemetry_schema
from models.measurements import Kind, known, of_class
from models.wire import PAYLOADS, Sample, Telemetry

__all__ = ["KEPT_BYTES", "event_refusal", "identity", "parse", "too_large"]

KEPT_BYTES: Final = 480 * 1024
"""How much of a payload that is too large a dead letter keeps; a frame must stay below 512 KiB."""
_MAX_INT: Final = 2**63 - 1
_DETAIL: Final = 400
_HEAD: Final = re.compile(
    rb'\s*\{\s*"(boot|seq)"\s*:\s*(\d{1,19})\s*,\s*"(boot|seq)"\s*:\s*(\d{1,19})\s*[,}]'
)
_short = Repr()
_short.maxstring = _short.maxother = 80
_short.maxdict = _short.maxlist = 3


def _number(value: Any) -> int | None:
    return value if type(value) is int and 1 <= value <= _MAX_INT else None


def identity(payload: bytes) -> tuple[int | None, int | None]:
    """Boot and seq of a payload, as far as they can be read."""
    try:
        value = from_json(payload)
    except ValueError:
        return None, None
    if not isinstance(value, dict):
        return None, None
    return _number(value.get("boot")), _number(value.get("seq"))


def too_large(index: int, payload: bytes, limit: int) -> Refusal:
    """Refusal of a payload above `limit` bytes; its numbers are read only where they stand first.

    So the answer is the same for the part of it that a dead letter keeps.
    """
    got = str(len(payload)) if len(payload) <= KEPT_BYTES else f"more than {KEPT_BYTES}"
    detail = f"expected at most {limit} bytes, got {got}"
    head = _HEAD.match(payload[:256])
    if not head or head[1] == head[3]:
        return Refusal(index, Reason.TOO_LARGE, detail)
    found = {head[1]: _number(int(head[2])), head[3]: _number(int(head[4]))}
    return Refusal(index, Reason.TOO_LARGE, detail, found[b"boot"], found[b"seq"])


def _describe(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(level) for level in first["loc"])
    return f"{where}: {first['msg']}, got {_short.repr(first['input'])}"[:_DETAIL]


def _refused(index: int, payload: bytes, error: ValidationError) -> Refusal:
    """`schema`, or `not_json` where the payload is no JSON at all."""
    try:
        from_json(payload)
    except ValueError as cause:
        return Refusal(index, Reason.NOT_JSON, f"expected JSON: {cause}"[:_DETAIL])
    return Refusal(index, Reason.SCHEMA, _describe(error), *identity(payload))


def event_refusal(index: int, kind: str, payload: bytes) -> Refusal | None:
    """Why a birth, state or death cannot be taken; None when it can."""
    try:
        PAYLOADS[kind].model_validate_json(payload)
    except ValidationError as error:
        return _refused(index, payload, error)
    return None


@cache
def _kinds(device_class: str) -> dict[str, type]:
    return {m.name: str if m.kind is Kind.TEXT else float for m in of_class(device_class)}


def parse(
    device_class: str, index: Sequence[int], payloads: Sequence[bytes]
) -> tuple[Block | None, list[Refusal]]:
    """Columns of the payloads that are valid, and why the others are not.

    A measurement that the class does not have is kept in `extra`; a message
    that has none of its class, but one of another, is of the wrong class.
    """
    taken: list[tuple[int, Telemetry]] = []
    refusals = []
    for place, payload in zip(index, payloads, strict=True):
        try:
            telemetry = Telemetry.model_validate_json(payload)
        except ValidationError as error:
            refusals.append(_refused(place, payload, error))
            continue
        refusal = _misfit(place, device_class, telemetry)
        if refusal is None:
            taken.append((place, telemetry))
        else:
            refusals.append(refusal)
    return (_block(device_class, taken) if taken else None), refusals


def _misfit(index: int, device_class: str, telemetry: Telemetry) -> Refusal | None:
    kinds = _kinds(device_class)
    fits, foreign = False, ""
    for position, sample in enumerate(telemetry.samples):
        for name, value in (sample.model_extra or {}).items():
            expected = kinds.get(name)
            if expected is None:
                foreign = foreign or (name if name in known else "")
            elif type(value) is expected:
                fits = True
            else:
                article = "text" if expected is str else "a number"
                detail = f"samples.{position}.{name}: expected {article}, got {_short.repr(value)}"
                return Refusal(index, Reason.SCHEMA, detail, telemetry.boot, telemetry.seq)
    if foreign and not fits:
        classes = ", ".join(known[foreign].classes)
        detail = f"expected a measurement of class {device_class}, got {foreign}, which belongs to {classes}"
        return Refusal(index, Reason.WRONG_CLASS, detail, telemetry.boot, telemetry.seq)
    return None


def _extra(sample: Sample, kinds: dict[str, type]) -> str | None:
    unknown = {name: value for name, value in (sample.model_extra or {}).items() if name not in kinds}
    return orjson.dumps(unknown).decode() if unknown else None


def _block(device_class: str, taken: Sequence[tuple[int, Telemetry]]) -> Block:
    kinds = _kinds(device_class)
    samples = [sample for _, telemetry in taken for sample in telemetry.samples]
    values = [sample.model_extra or {} for sample in samples]
    types = {field.name: field.type for field in telemetry_schema(device_class)}
    columns = {
        name: pa.array([row.get(name) for row in values], types[name])
        for name in kinds
        if any(name in row for row in values)
    }
    extra = [_extra(sample, kinds) for sample in samples]
    if any(text is not None for text in extra):
        columns[EXTRA] = pa.array(extra, pa.string())
    return Block(
        device_class,
        np.array([place for place, _ in taken], dtype=np.int64),
        np.array([telemetry.boot for _, telemetry in taken], dtype=np.int64),
        np.array([telemetry.seq for _, telemetry in taken], dtype=np.int64),
        np.array([len(telemetry.samples) for _, telemetry in taken], dtype=np.int64),
        np.array([sample.t for sample in samples], dtype=np.int64),
        columns,
    )
