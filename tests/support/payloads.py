"""A site, messages for it, and what a decoder made of them, for the tests of journal and ingest."""

from __future__ import annotations

import json

from ingest.decode import Decoder
from ingest.messages import ClockMode, Decoded, Message
from ingest.ranges import fewest
from models.frame import FrameKind
from models.site import Site
from models.site_files import parse_site

NOW = 1_767_225_600_000
BOOT = NOW - 86_400_000
TEXTS = {
    "site.toml": (
        '[site]\nid = "s"\nname = "test"\ntimezone = "Asia/Shanghai"\nretention_days = 30\n'
        '[[region]]\nid = "r1"\nname = "north"\n'
        '[[unit]]\nid = "u1"\nregion = "r1"\nname = "one"\n'
        '[[unit]]\nid = "u2"\nregion = "r1"\nname = "two"\n'
    ),
    "devices.csv": (
        "device,class,unit,stream,interval_s\n"
        "sub-1,substation,u1,,10\n"
        "sub-2,substation,u1,,10\n"
        "sub-3,substation,u2,,10\n"
        "meter-1,meter,u1,,600\n"
        "truck-1,truck,u1,haul,10\n"
        "bridge-1,weighbridge,u1,haul,\n"
        "lab-1,lab,u1,haul,\n"
    ),
}
UNIT_OF = {"sub-3": "u2"}


def site() -> Site:
    return parse_site(TEXTS)[0]


def topic(device, kind="telemetry", unit=None, region="r1"):
    return f"hearthline/v1/{region}/{unit or UNIT_OF.get(device, 'u1')}/{device}/{kind}"


def telemetry(device="sub-1", seq=1, samples=None, boot=BOOT, retained=False, **values):
    """A telemetry message of one sample now, or of `samples`."""
    samples = [{"t": NOW, **(values or {"supply_c": 90.0})}] if samples is None else samples
    payload = json.dumps({"boot": boot, "seq": seq, "samples": samples}).encode()
    return Message(topic(device), payload, retained, NOW)


def event(device, kind, retained=False, **payload):
    return Message(topic(device, kind), json.dumps({"boot": BOOT, **payload}).encode(), retained, NOW)


def state(device="sub-1", next_seq=2):
    return event(device, "state", at=NOW, next_seq=next_seq)


def decode(messages, now_ms=None, mode=ClockMode.WALL, wall_ms=NOW) -> Decoded:
    return Decoder(site()).decode(messages, mode=mode, wall_ms=wall_ms, now_ms=now_ms or {})


def rows_of(decoded, kind=FrameKind.TELEMETRY):
    """Rows of all frames of `kind`, with their stream; absent values left out."""
    return [
        {"stream": placed.stream, **{k: v for k, v in row.items() if v is not None}}
        for placed in decoded.placed
        if placed.frame.kind is kind
        for row in placed.frame.batch.to_pylist()
    ]


def refusals(decoded):
    return [
        (r["stream"], r["device"], r["reason"], r.get("seq")) for r in rows_of(decoded, FrameKind.REFUSAL)
    ]


def acks(decoded):
    """Ranges of numbers that senders are to be told, by sender and boot."""
    told = {}
    for part in map(fewest, decoded.safe):
        columns = (part.sender.tolist(), part.boot.tolist(), part.first.tolist(), part.last.tolist())
        for sender, boot, *ends in zip(*columns, strict=True):
            told.setdefault(part.addresses[sender], {}).setdefault(boot, []).append(tuple(ends))
    return told
