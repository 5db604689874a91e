"""Generated bad input through the whole path: no crash, no hang, every message accounted for, neighbours stored."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from tests.support.bad_input import CLASSES, STORED, Bad
from tests.support.front_door import FrontDoor
from tests.support.payloads import telemetry

BATCH = 20
ROUNDS = 13
ANY_CLASS = st.sampled_from(tuple(CLASSES)).flatmap(lambda name: CLASSES[name]())
HEALTH = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]


class Sending:
    """Generated cases through one server: each alone through the decoder, then in batches all the way."""

    def __init__(self, door: FrontDoor) -> None:
        self.door = door
        self.all = 0
        self.kinds: Counter[str] = Counter()
        self.distinct: set[bytes] = set()
        self.pending: dict[object, Bad] = {}
        self.faults: list[str] = []

    def give(self, case: Bad) -> None:
        self.all += 1
        self.kinds[case.kind] += 1
        name = case.topic.encode() + b"\n" + case.payload
        self.distinct.add(hashlib.blake2b(name, digest_size=8).digest())
        self.door.judge(case)
        key: object = self.all
        if case.kind == "seq_reused":  # the same time twice in one batch is a duplicate
            key = json.loads(case.payload)["samples"][0]["t"]
        if key in self.pending:
            self.flush()
        self.pending[key] = case
        if len(self.pending) == BATCH:
            self.flush()

    def flush(self) -> None:
        """Send what waits as one batch; where that fails, find out which case it is."""
        batch = list(self.pending.values())
        self.pending.clear()
        try:
            self.door.take(batch)
        except AssertionError as fault:
            self.faults.append(f"in a batch: {fault}")
            for case in batch:
                try:
                    self.door.take([case])
                except AssertionError as alone:
                    self.faults.append(f"alone: {alone}")


def send(examples: int, phases: tuple[Phase, ...], **how: bool) -> Sending:
    """So many generated cases through one server."""
    with tempfile.TemporaryDirectory() as home, FrontDoor(Path(home)) as door:
        sending = Sending(door)

        @settings(
            max_examples=examples,
            deadline=None,
            suppress_health_check=HEALTH,
            phases=phases,
            print_blob=True,
            **how,
        )
        @given(ANY_CLASS)
        def each(case: Bad) -> None:
            sending.give(case)

        each()
        sending.flush()
        assert not sending.faults, "\n".join(sending.faults[:10])
        door.restart()
        door.check_ledger()
        alone, batch = door.slowest_alone, door.slowest
        print(
            f"{sending.all} cases, {len(sending.distinct)} different, {len(sending.kinds)} classes; slowest alone "
            f"{alone[0]:.3f} s ({alone[1]}), slowest batch of {BATCH} with as many neighbours {batch[0]:.2f} s"
        )
    assert set(sending.kinds) == set(CLASSES)
    return sending


def test_two_thousand_cases_of_every_class() -> None:
    assert send(2000, tuple(Phase)).all >= 2000


@pytest.mark.soak
@pytest.mark.timeout(10_800)
def test_a_hundred_thousand_different_cases() -> None:
    distinct: set[bytes] = set()
    for _ in range(ROUNDS):  # in rounds, because what has been generated is remembered
        distinct |= send(10_000, (Phase.generate, Phase.shrink), derandomize=False).distinct
        print(f"{len(distinct)} different so far")
    assert len(distinct) >= 100_000


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontDoor]:
    """One for all classes: each has its own number of a boot, and the ledger is that of all so far."""
    with FrontDoor(tmp_path_factory.mktemp("door")) as opened:
        yield opened


@pytest.mark.parametrize("name", CLASSES)
def test_each_class_alone_takes_less_than_a_second(name: str, door: FrontDoor) -> None:
    @settings(max_examples=5, deadline=None, phases=(Phase.generate,), suppress_health_check=HEALTH)
    @given(CLASSES[name]())
    def each(bad: Bad) -> None:
        door.take([bad])

    each()
    door.check_ledger()
    print(f"{name}: at most {door.slowest[0]:.3f} s so far, with its two neighbours")


def test_the_check_can_fail(tmp_path: Path) -> None:
    """A message that is taken counts as lost where it was to be refused, and the other way round."""
    good = find(CLASSES["extreme_numbers"](), lambda _: True)
    bad = find(CLASSES["wrong_class"](), lambda _: True)
    with FrontDoor(tmp_path) as door:
        for case, right in ((good, "schema"), (bad, STORED), (bad, "too_old")):
            wrongly = Bad(case.kind, case.topic, case.payload, frozenset({right}), case.seq)
            with pytest.raises(AssertionError, match=r"neither|not stored|refused as"):
                door.take([wrongly])


def test_bombs_take_no_memory_and_hold_up_nobody(tmp_path: Path) -> None:
    kinds = ("bombs", "deep", "huge", "long_integers", "too_many_samples")
    with FrontDoor(tmp_path) as door:
        heaviest = [find(CLASSES[kind](), lambda b: len(b.payload) > 500) for kind in kinds]
        door.take(heaviest)  # what libraries load at first use is no message's doing
        process = psutil.Process()
        before = process.memory_info().rss
        most = 0
        for _ in range(20):
            door.take(heaviest)
            most = max(most, process.memory_info().rss)
        risen_mb = (most - before) / 1e6
        print(f"memory up by {risen_mb:.1f} MB")
        assert risen_mb < 50
        began_s = time.process_time()  # on a crowded machine the wall says little
        door.submit([telemetry("sub-1", 999_999, supply_c=1.0)])
        assert [r["seq"] for r in door.heard.readings] == [999_999]
        assert time.process_time() - began_s < 1.0
