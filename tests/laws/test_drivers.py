"""A damaged record is an error that names the byte, never a number; over every driver that there is."""

from __future__ import annotations

import os
import random
import time
from contextlib import suppress

import pytest

from edge import drivers, simulators
from edge.driver import DriverError, RecordError
from tests.support.driver_records import KINDS

SEED = int(os.environ.get("HEARTHLINE_SEED", "20260101"))
RECORDINGS = {"csv"}  # files, not devices: tests/edge/test_csv_driver.py cuts one at every byte
SOAK_RECORDS = 100_000


def approx(truth):
    if isinstance(truth, dict):
        return {k: pytest.approx(v, rel=1e-12) if isinstance(v, float) else v for k, v in truth.items()}
    return truth


def refused(record, data):
    """That the reader refuses, and says at which byte of what it was given."""
    with pytest.raises(RecordError) as caught:
        record.decode(bytes(data))
    assert 0 <= caught.value.offset <= len(data), caught.value
    assert f"byte {caught.value.offset}: expected" in str(caught.value)


def harm(record, rng, flips):
    """Cut it at every byte, and change every byte that something guards; how many that were."""
    for end in range(len(record.data)):
        refused(record, record.data[:end])
    changed = 0
    for at in range(len(record.data)):
        for mask in flips(rng):
            damaged = bytearray(record.data)
            damaged[at] ^= mask
            if at in record.unguarded:
                with suppress(DriverError):  # what nothing guards may be other data, but no other failure
                    record.decode(bytes(damaged))
                continue
            refused(record, damaged)
            changed += 1
    more = rng.choice([byte for byte in range(1, 256) if byte not in record.blank])
    refused(record, record.data + bytes([more]))
    return len(record.data) + changed + 1


def every_bit(rng):
    return [1 << bit for bit in range(8)] + [rng.randrange(1, 256)]


def test_every_driver_has_its_records_and_its_simulator():
    devices = set(drivers.available()) - RECORDINGS
    assert {kind.split()[0] for kind in KINDS} == devices
    assert set(simulators.available()) == devices


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_record_says_what_it_says_and_again(kind):
    rng = random.Random(f"{SEED} {kind}")
    for _ in range(50):
        record = KINDS[kind](rng)
        assert record.decode(record.data) == approx(record.truth), SEED
        assert record.decode(record.data) == record.decode(record.data)


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_cut_or_changed_at_any_byte_is_an_error_that_names_it(kind):
    rng = random.Random(f"{SEED} damaged {kind}")
    for _ in range(4):
        harm(KINDS[kind](rng), rng, every_bit)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_records_of_all_drivers_each_cut_and_changed_at_every_byte():
    began = time.monotonic()
    damaged = 0
    each = -(-SOAK_RECORDS // len(KINDS))
    for kind, make in KINDS.items():
        rng = random.Random(f"{SEED} soak {kind}")
        for _ in range(each):
            record = make(rng)
            assert record.decode(record.data) == approx(record.truth), SEED
            damaged += harm(record, rng, lambda rng: [rng.randrange(1, 256)])
    minutes = (time.monotonic() - began) / 60
    print(
        f"\nseed {SEED}: {each * len(KINDS):,} records of {len(KINDS)} kinds, "
        f"{damaged:,} damaged ones, all refused, in {minutes:.0f} min"
    )
