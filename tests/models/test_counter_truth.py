"""Counters against known consumption: what was truly counted, through everything that befalls a register."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import strategies as st

from models.counter import EVENTS, Step, counter_events, counter_steps, window_increase
from tests.support.counter_neighbours import neighbourhood
from tests.support.examples import law

H = 3_600_000
FULL_GJ, FULL_M3 = 10_000.0, 100_000.0
MOST_GJ_H = 2.0
EVENT_AT = {
    "zero": Step.SPIKE,
    "all_zero": Step.SPIKE,
    "garbled": Step.SPIKE,
    "old_value": Step.SPIKE,
    "old_twice": Step.SPIKE,
    "old_thrice": Step.SPIKE,
    "garbled_twice": Step.SPIKE,
    "negative": None,
    "outage": None,
    "reset": Step.RESET,
    "exchange": Step.EXCHANGE,
    "new_meter": Step.EXCHANGE,
    "smaller_unit": Step.SPIKE,
}
SHOWN_AGAIN = {"old_twice": 1, "garbled_twice": 1, "old_thrice": 2}
"""What is shown once more, and how often."""
LOSES = {"reset", "exchange", "new_meter", "smaller_unit"}


@dataclass
class History:
    """Readings of one meter, what it truly counted between them, and what befell it."""

    t: np.ndarray
    energy_gj: np.ndarray
    volume_m3: np.ndarray
    operating_h: np.ndarray
    true_gj: np.ndarray  # since the reading before
    lost: np.ndarray  # whether nobody can know what was counted since the reading before
    bridged: np.ndarray  # whether what was counted lies a step later
    events: list[tuple[int, Step]]

    def limits(self, **more):
        return {
            "full_scale": FULL_GJ,
            "max_rate_per_h": MOST_GJ_H,
            "operating_h": self.operating_h,
            "companion": self.volume_m3,
            **more,
        }


@dataclass
class Meter:
    """A meter that counts truly, and what its registers show."""

    rng: np.random.Generator
    energy_gj: float
    volume_m3: float = 50_000.0
    operating_h: float = 20_000.0

    def run(self, span_h: float) -> tuple[float, bool]:
        """Count for a while: how much, and whether the register rolled over."""
        used = float(self.rng.uniform(0.0, 0.4)) * MOST_GJ_H * span_h
        self.operating_h += span_h
        self.volume_m3 += used * 4.0
        self.energy_gj += used
        rolled = self.energy_gj >= FULL_GJ
        self.energy_gj -= FULL_GJ if rolled else 0.0
        return used, rolled

    def can(self, what: str) -> bool:
        """Whether it befalls this meter so that it can be told from another fault."""
        if what == "smaller_unit":
            return 100.0 < self.energy_gj < 2500.0
        if what in SHOWN_AGAIN:
            return 100.0 < self.energy_gj < FULL_GJ - 100.0
        return what not in {"reset", "exchange", "new_meter", "old_value"} or self.energy_gj > 100.0

    def befall(self, what: str) -> None:
        """What changes the registers for good."""
        few = float(self.rng.uniform(0.0, 0.1))
        if what == "reset":
            self.energy_gj = few
        elif what == "new_meter":
            self.energy_gj, self.volume_m3 = few, 0.5
        elif what == "exchange":
            self.energy_gj, self.operating_h = few, 0.3
        elif what == "smaller_unit":
            self.energy_gj *= 3.6  # MWh before, GJ from now on

    def shown(self, what: str) -> tuple[float, float]:
        """Energy and volume as read once."""
        energy = {
            "zero": 0.0,
            "all_zero": 0.0,
            "garbled": self.energy_gj + float(self.rng.uniform(500.0, 1e9)),
            "old_value": self.energy_gj - float(self.rng.uniform(5.0, 50.0)),
            "old_twice": self.energy_gj - float(self.rng.uniform(5.0, 50.0)),
            "old_thrice": self.energy_gj - float(self.rng.uniform(5.0, 50.0)),
            "garbled_twice": self.energy_gj + float(self.rng.uniform(500.0, 1e9)),
            "negative": np.nan,  # outside its range, and so masked before it comes here
        }
        return energy.get(what, self.energy_gj), 0.0 if what == "all_zero" else self.volume_m3


@st.composite
def histories(draw, kinds=tuple(EVENT_AT)):
    """Consumption at a meter that is read about hourly, with faults six readings apart."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    befalls = draw(st.lists(st.sampled_from(kinds), max_size=5))
    at = {6 * (place + 1): what for place, what in enumerate(befalls)}
    meter = Meter(rng, float(rng.uniform(300.0, FULL_GJ - 5.0)))
    rows, events, now = [], [], 0
    again = shown = None
    for i in range(6 * (len(befalls) + 2)):
        what = at.get(i, "")
        step_ms = round(float(rng.uniform(5, 40) if what == "outage" else rng.uniform(0.5, 1.5)) * H)
        now += step_ms
        used, rolled = meter.run(step_ms / H)
        if rolled or not meter.can(what):
            what = ""  # one thing at a time
        meter.befall(what)
        kind = EVENT_AT.get(what)
        if again and not rolled:
            shown, again = (shown[0], meter.volume_m3), again - 1
            disturbs = True
        else:
            shown, again = meter.shown(what), SHOWN_AGAIN.get(what, 0)
            disturbs = kind is Step.SPIKE and what not in LOSES
        rows.append(
            (
                now,
                *shown,
                meter.operating_h,
                used,
                what in LOSES,
                disturbs,
            )
        )
        events += [(now, kind)] if kind is not None else []
        events += [(now, Step.ROLLOVER)] if rolled and i else []
    return History(*(np.array(column) for column in zip(*rows, strict=True)), events=events)


def windows_of(history, width_ms, shift_ms):
    start = int(history.t[0]) // width_ms * width_ms - shift_ms
    return itertools.pairwise(range(start - width_ms, int(history.t[-1]) + 2 * width_ms, width_ms))


def counted(history, start, end, **more):
    """One window as the stream sees it: its readings and their neighbours."""
    there = np.isfinite(history.energy_gj)
    t, energy = history.t[there], history.energy_gj[there]
    near = neighbourhood(t, energy, start, end)
    limits = history.limits(
        operating_h=history.operating_h[there][near], companion=history.volume_m3[there][near], **more
    )
    return window_increase(np.zeros(len(near), int), t[near], energy[near], start, end, 1, **limits)


@law(
    gate=50,
    soak=150,
    history=histories(),
    width_ms=st.sampled_from([900_000, H, 7 * H, 24 * H]),
    shift_ms=st.integers(0, H),
)
def test_windows_add_up_to_the_true_consumption_less_what_nobody_can_know(history, width_ms, shift_ms):
    total = 0.0
    for start, end in windows_of(history, width_ms, shift_ms):
        grown = counted(history, start, end).increase[0]
        if not np.isnan(grown):
            assert grown >= 0.0
            total += grown
    known = history.true_gj[1:][~history.lost[1:]]
    assert total == pytest.approx(known.sum(), abs=1e-6), history.events


@law(
    gate=50,
    soak=150,
    history=histories(),
    width_ms=st.sampled_from([900_000, H, 5 * H]),
    shift_ms=st.integers(0, H),
)
def test_no_window_counts_more_than_the_meter_can(history, width_ms, shift_ms):
    for start, end in windows_of(history, width_ms, shift_ms):
        grown = counted(history, start, end).increase[0]
        # A register may be read at once after it stood for an hour.
        most = 1.2 * MOST_GJ_H * max((end - start) / H + 2.0, 1.0)
        assert np.isnan(grown) or grown <= most, history.events


@law(gate=50, soak=150, history=histories(), shift_ms=st.integers(0, H))
def test_away_from_events_a_window_has_its_true_share(history, shift_ms):
    there = np.isfinite(history.energy_gj)
    curve = np.cumsum(np.where(history.lost, 0.0, history.true_gj))
    t = history.t[there]
    disturbed = history.lost | history.bridged
    for start, end in windows_of(history, 900_000, shift_ms):
        at = np.searchsorted(history.t, [start, end])
        low, high = max(at[0] - 1, 0), min(at[1] + 2, len(history.t))
        if (
            disturbed[low:high].any()
            or disturbed[max(low - 1, 0) : high].any()
            or start < t[0]
            or end > t[-1]
        ):
            continue
        expected = np.diff(np.interp([start, end], t, curve[there]))[0]
        assert counted(history, start, end).increase[0] == pytest.approx(expected, abs=1e-6)


@law(gate=40, soak=100, history=histories(), width_ms=st.sampled_from([900_000, 3 * H]))
def test_every_event_is_counted_once_in_the_window_that_shows_it(history, width_ms):
    there = np.isfinite(history.energy_gj)
    t, energy = history.t[there], history.energy_gj[there]
    if history.events and history.events[-1][0] == t[-1]:
        return  # whether the last reading is out of line, only the next one can tell
    found = []
    for start, end in windows_of(history, width_ms, 0):
        near = neighbourhood(t, energy, start, end)
        limits = history.limits(
            operating_h=history.operating_h[there][near], companion=history.volume_m3[there][near]
        )
        counts = counter_events(np.zeros(len(t[near]), int), t[near], energy[near], start, end, 1, **limits)
        for kind, count in zip(EVENTS, counts[:, 0], strict=True):
            found += [(start, kind)] * int(count)
    expected = [(at // width_ms * width_ms, kind) for at, kind in history.events if at > t[0]]
    assert sorted(found) == sorted(expected)


@law(gate=20, soak=60, history=histories(kinds=("exchange", "new_meter", "reset")))
def test_a_window_within_an_exchange_knows_nothing_and_says_why(history):
    steps = counter_steps(np.zeros(len(history.t), int), history.t, history.energy_gj, **history.limits())
    for i in np.flatnonzero(history.lost):
        if i == 0:
            continue
        inside = counted(history, int(history.t[i - 1]) + 60_000, int(history.t[i]) - 60_000)
        assert np.isnan(inside.increase[0])
        assert (inside.covered[0], inside.lost[0]) == (0.0, 1.0)
        assert inside.why[0] == steps.kind[i]
        assert steps.kind[i] in {Step.RESET, Step.EXCHANGE}


def hourly(*energy_gj, gap_h=None):
    """Readings an hour apart, `gap_h` hours before the one that it names."""
    t = np.cumsum([0, *((gap_h or {}).get(i, 1) for i in range(1, len(energy_gj)))]) * H
    return t.astype(np.int64), np.array(energy_gj, dtype=float)


@pytest.mark.parametrize(
    ("readings", "total", "options"),
    [
        pytest.param(hourly(500, 501, 505, 506, gap_h={2: 40}), 6.0, {}, id="outage"),
        pytest.param(hourly(500, 501, 0, 502, 503, gap_h={2: 40}), 3.0, {}, id="zero after an outage"),
        pytest.param(
            hourly(500, 501, 0, 531, 532, gap_h={2: 40}),
            32.0,
            {"max_rate_per_h": 2.0},
            id="zero after an outage with much heat",
        ),
        pytest.param(hourly(500, 501, 0, 503, 504), 4.0, {}, id="a zero for one sample, rate unknown"),
        pytest.param(hourly(500, 501, 0, 503, 504), 4.0, {"max_rate_per_h": 1e6}, id="a zero, large meter"),
        pytest.param(
            hourly(500, 501, 0, 0, 503, 504), 4.0, {"max_rate_per_h": 2.0}, id="zeros for two samples"
        ),
        pytest.param(hourly(500, 501, 0, 0, 503, 504), 4.0, {}, id="zeros for two samples, rate unknown"),
        pytest.param(
            hourly(500, 501, 0, 0, 503, 504),
            4.0,
            {"max_rate_per_h": 2e4, "rated": False},
            id="zeros for two samples, rate that of any meter",
        ),
        pytest.param(hourly(500, 501, 0, 0, 0.5, 1), 2.0, {}, id="set back to zero, nothing flows yet"),
        pytest.param(hourly(500, 501, 0, 0, 480, 481), 2.0, {}, id="zeros, then an older register"),
        pytest.param(
            hourly(500, 501, 0, 0, 590, 591), 2.0, {"max_rate_per_h": 2.0}, id="zeros, then more than can be"
        ),
        pytest.param(hourly(0, 0, 500, 501), 1.0, {}, id="zeros at the start, rate unknown"),
        pytest.param(
            hourly(0, 0, 500, 501), 1.0, {"max_rate_per_h": 2.0}, id="zeros at the start, rate known"
        ),
        pytest.param(hourly(0, 0, 1, 2), 2.0, {"max_rate_per_h": 2.0}, id="a new meter"),
        pytest.param(
            hourly(9998, 9999, 0, 0, 1), 2.5, {"full_scale": 9999.5}, id="rollover that stands at zero"
        ),
        pytest.param(
            hourly(9998, 9999, 0, 0, 9999.5),
            1.5,
            {"full_scale": 10_000.0},
            id="zeros right before a rollover",
        ),
        pytest.param(
            hourly(2, 3, 0, 0, 4, 5),
            2.0,  # from 3 to 4, or from 0 to 4: both can be
            {"max_rate_per_h": 2.0},
            id="zeros of a meter that is nearly new",
        ),
        pytest.param(
            hourly(2, 3, 0, 0, 4, 5),
            3.0,
            {"max_rate_per_h": 2.0, "operating_h": np.array([10.0, 11.0, 0.0, 0.0, 14.0, 15.0])},
            id="zeros of a meter that is nearly new, its hours go on",
        ),
        pytest.param(
            hourly(500, 501, 0, 0, 2, 3),
            4.0,
            {"max_rate_per_h": 2.0, "operating_h": np.array([9e3, 9001.0, 0.0, 0.5, 1.5, 2.5])},
            id="new meter that stood at zero",
        ),
        pytest.param(
            hourly(500, 501, 0, 0, 800, 801),
            2.0,
            {"operating_h": np.array([9e3, 9001.0, 0.0, 0.0, 2.0, 3.0])},
            id="used meter after zeros",
        ),
        pytest.param(hourly(500, 501, 0.2, 1.2, 2.2), 3.0, {}, id="reset"),
        pytest.param(hourly(500, 501, 480, 481, 482), 3.0, {}, id="register restored from an older value"),
        pytest.param(
            hourly(500, 501, 499, 503, 504), 4.0, {"max_rate_per_h": 2.0}, id="old value sent again"
        ),
        pytest.param(hourly(500, 501, 4e9, 503, 504), 4.0, {"max_rate_per_h": 2.0}, id="garbled up"),
        pytest.param(hourly(500, 501, 480, 480, 503, 504), 4.0, {}, id="old value sent twice, rate unknown"),
        pytest.param(
            hourly(500, 501, 480, 480, 503, 504), 4.0, {"max_rate_per_h": 2.0}, id="old value sent twice"
        ),
        pytest.param(
            hourly(500, 501, 480, 480, 480, 503, 504), 4.0, {}, id="old value sent three times, rate unknown"
        ),
        pytest.param(
            hourly(500, 501, 480, 480, 481, 482), 3.0, {}, id="register restored from an older value, stands"
        ),
        pytest.param(
            hourly(2, 3, 2, 2, 4, 5),
            2.0,  # from 3 to 4, or from 2 to 4: both can be
            {"max_rate_per_h": 2.0},
            id="old value of a meter that is nearly new",
        ),
        pytest.param(hourly(500, 501, 5000, 503, 504), 4.0, {}, id="garbled up, rate unknown"),
        pytest.param(hourly(500, 500, 5000, 500, 501), 1.0, {}, id="garbled up, nothing flows"),
        pytest.param(hourly(500, 501, 5000, 5000, 503, 504), 4.0, {}, id="garbled up twice, rate unknown"),
        pytest.param(
            hourly(500, 501, 5000, 5000, 5000, 503, 504),
            4.0,
            {"max_rate_per_h": 2.0},
            id="garbled up three times",
        ),
        pytest.param(hourly(500, 501, 0, 5000, 503, 504), 4.0, {}, id="zero, then garbled, rate unknown"),
        pytest.param(hourly(500, 501, 480, 5000, 503, 504), 4.0, {}, id="old value, then garbled"),
        pytest.param(
            hourly(9990, 9999, 14, 9999, 15, 16),
            26.0,
            {"full_scale": 10_000.0},
            id="old value of before a rollover",
        ),
        pytest.param(hourly(9998, 9999, 1, 2), 4.0, {"full_scale": 10_000.0}, id="rollover"),
        pytest.param(hourly(5000, 5001, 5.002, 5.003), 1.001, {}, id="kWh become MWh"),
        pytest.param(hourly(5, 6, 6000, 6001), 2.0, {"max_rate_per_h": 2.0}, id="MWh become kWh"),
        pytest.param(
            hourly(500, 501, 0.5, 1.5),
            2.0,
            {"operating_h": np.array([9e3, 9001.0, 1.0, 2.0])},
            id="new meter",
        ),
        pytest.param(
            hourly(500, 501, 800, 801),
            2.0,
            {"operating_h": np.array([9e3, 9001.0, 1.0, 2.0])},
            id="used meter",
        ),
    ],
)
def test_cases_that_people_report(readings, total, options):
    t, energy = readings
    parts = [
        window_increase(np.zeros(len(t), int), t, energy, start, start + H // 4, 1, **options).increase[0]
        for start in range(0, int(t[-1]), H // 4)
    ]
    assert np.nanmin(parts) >= 0.0
    assert np.nansum(parts) == pytest.approx(total)


def test_a_rollover_in_the_midst_of_zeros_counts_across_them() -> None:
    """When it was counted nobody knows: no window among the zeros says that it was nothing."""
    t, energy = hourly(9998, 9999, 0, 0, 0, 0, 3, 4)
    inside = window_increase(
        np.zeros(8, int), t, energy, 3 * H, 4 * H, 1, 10_000.0, max_rate_per_h=2.0, gap_limit_ms=3 * H
    )
    assert (inside.bridged[0], inside.covered[0], Step(inside.why[0])) == (1.0, 0.0, Step.ZERO)
    whole = window_increase(np.zeros(8, int), t, energy, 0, 7 * H, 1, 10_000.0, max_rate_per_h=2.0)
    assert whole.increase[0] == pytest.approx(6.0)
    events = counter_events(np.zeros(8, int), t, energy, 0, 8 * H, 1, 10_000.0, max_rate_per_h=2.0)
    assert dict(zip(EVENTS, events[:, 0].tolist(), strict=True))[Step.ROLLOVER] == 1


@pytest.mark.parametrize(
    ("readings", "why"),
    [
        ([500, 501, 480, 480], Step.CORRUPT),
        ([500, 501, 480, 480, 480], Step.CORRUPT),
        ([500, 501, 480, 480, 480, 480], None),
        ([500, 501, 480, 480, 481], None),
        ([500, 501, 480, 480, 502], Step.CORRUPT),
        ([500, 501, 5000, 5000, 480], Step.CORRUPT),
        ([500, 501, 5000, 5000, 5001], None),
    ],
)
def test_equal_readings_out_of_line_are_in_doubt_until_the_register_counts_on(readings, why) -> None:
    t, energy = hourly(*readings)
    counted = window_increase(np.zeros(len(t), int), t, energy, 2 * H, 3 * H, 1, max_rate_per_h=2.0)
    assert (counted.lost[0], counted.why[0]) == ((0.0, 0) if why is None else (1.0, why))
    assert np.isnan(counted.increase[0]) if why else counted.increase[0] == 0.0
