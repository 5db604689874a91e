"""Episodes: said after enough steps, over after enough quiet ones, and what stands in the way of what."""

from __future__ import annotations

import numpy as np

from models.fault_codes import CODES
from models.fault_episodes import HOLD_STEPS, Episodes
from models.fault_seen import Verdict

STEP = 900_000


def verdict(code: str, on: bool) -> Verdict:
    return Verdict(code, np.array([on, False]), np.ones(2), {})


def walk(episodes: Episodes, steps: list[dict[str, bool]], *, heard: bool = True, start: int = 0):
    said = []
    for at, showing in enumerate(steps, start):
        verdicts = [verdict(code, on) for code, on in showing.items()]
        episodes, begun, over = episodes.taken(verdicts, np.array([heard, True]), at * STEP, (at + 1) * STEP)
        said += [(at, "begun", c) for c, d in begun if d == 0] + [(at, "over", c) for c, d in over if d == 0]
        assert not [d for _, d in begun + over if d == 1]
    return episodes, said


def test_it_is_said_after_enough_steps_in_a_row_since_the_first_of_them() -> None:
    need, quiet = CODES["fouled_exchanger"].need, CODES["fouled_exchanger"].quiet
    on, off = {"fouled_exchanger": True}, {"fouled_exchanger": False}
    steps = [on] * (need - 1) + [off] + [on] * need + [off] * (quiet - 1) + [on] + [off] * quiet
    episodes, said = walk(Episodes.none().grown(2), steps)
    first = need
    assert said == [
        (first + need - 1, "begun", "fouled_exchanger"), (len(steps) - 1, "over", "fouled_exchanger")
    ]  # fmt: skip
    assert episodes.span("fouled_exchanger", 0)[1] == (len(steps) - quiet) * STEP


def test_since_is_the_first_step_of_the_run() -> None:
    need = CODES["hunting"].need
    episodes, _ = walk(Episodes.none().grown(2), [{"hunting": False}] + [{"hunting": True}] * need)
    assert episodes.span("hunting", 0) == (STEP, (1 + need) * STEP)
    assert episodes.of("hunting").tolist() == [True, False]


def test_a_graver_fault_keeps_others_from_being_judged_for_a_while() -> None:
    both = {"pump_trip": True, "bypass": True}
    after = {"pump_trip": False, "bypass": True}
    quiet = CODES["pump_trip"].quiet
    episodes, said = walk(Episodes.none().grown(2), [both] * 8 + [after] * (quiet + HOLD_STEPS - 2))
    assert [c for _, what, c in said if what == "begun"] == ["pump_trip"]
    assert episodes.disturbed.tolist() == [True, False]
    _, said = walk(episodes, [after] * (CODES["bypass"].need + 1), start=100)
    assert [c for _, what, c in said if what == "begun"] == ["bypass"]


def test_counters_stand_in_nobodys_way() -> None:
    steps = [{"counter_spike": True, "hunting": True}] * CODES["hunting"].need
    _, said = walk(Episodes.none().grown(2), steps)
    assert {c for _, what, c in said if what == "begun"} == {"counter_spike", "hunting"}


def test_silence_changes_nothing() -> None:
    on = [{"hunting": True}] * CODES["hunting"].need
    episodes, _ = walk(Episodes.none().grown(2), on)
    later, said = walk(episodes, [{"hunting": False}] * 50, heard=False, start=10)
    assert not said
    assert later.of("hunting")[0]
    assert later.span("hunting", 0) == episodes.span("hunting", 0)
