"""Leaks of primary networks, and draw-off without leave: since when, how much, and how that is known."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from math import isfinite, nan
from typing import Any, Final
from zoneinfo import ZoneInfo

import pyarrow as pa

from models.accuracy import COVERAGE_FACTOR
from models.anomaly import ANOMALY, Anomaly, Severity, State, anomaly_table
from models.leak_detection import (
    DRAW_OFF,
    ENOUGH,
    LEAK,
    Loss,
    Manner,
    by_norm,
    find_loss,
    loss_since,
    manner_of,
    side_of,
)
from models.leak_location import Situated, nobody_knows
from models.network_heat import DEFAULT_LEAK_PCT
from models.results import Status
from models.site import Network
from models.water_usual import Usual, WaterWindow, usual_of
from streams.core.network_rows import Settled
from streams.core.operator import learner
from streams.core.pressure_drops import PRESSURE_CLASSES, remembered, whereabouts
from streams.core.water_windows import days_of, settled_windows, turn_day

__all__ = ["water_loss"]

_H_MS: Final = 3_600_000
_LOOK_BACK_MS: Final = 72 * _H_MS
_CONFIRM_H: Final = 4.0
"""An excess is said when it has held for so long: flushing is booked when it is done."""
_AT_ONCE: Final = 10.0
"""Times the norm for make-up: a loss of this size is said at once."""
_QUIET_H: Final = {DRAW_OFF: 26.0}
_QUIET_ELSE_H: Final = 6.0
_GONE: Final = 2.0  # excess over its standard uncertainty that is none
_BOOKED_WITHIN_H: Final = 6.0
"""After a loss has ended, how late what explains it may say that it was."""
_TURNED: Final = 0.95  # confidence with which a verdict on the manner is changed
VERSION: Final = 2
_MODEL: Final = f"water_loss/{VERSION}"
_MAKEUP_KG_M3: Final = 1000.0


@learner(
    reads=("network_water", "device_heat"),
    version=VERSION,
    subject="network",
    writes=ANOMALY,
    samples=PRESSURE_CLASSES,
)
def water_loss(state: Any, settled: Settled) -> tuple[Any, pa.Table | None]:
    """Watch each network's loss against what it usually loses, and say what is beyond its uncertainty.

    What is booked late takes back what it explains, for four days. Where pressures allow, a leak is situated.
    """
    state = dict(state or {})
    told: list[Anomaly] = []
    for network, window in settled_windows(settled):
        watch = _Watch(dict(state.get(network.id) or {}), network, settled)
        watch.take(window)
        state[network.id] = watch.state
        told += watch.told
    return state, anomaly_table(told, settled.stream) if told else None


def _passed_m3_h(windows: Sequence[WaterWindow], otherwise: Sequence[WaterWindow] = ()) -> float:
    """What circulated by those of `windows` that know it, else of the others; NaN where none does. [m³/h]

    A balance closes without its plant's flow: its pipes are followed by what was drawn.
    """
    for some in (windows, otherwise):
        flowed = [w for w in some if isfinite(w.circulated_m3)]
        if flowed:
            return sum(w.circulated_m3 for w in flowed) / sum(w.hours for w in flowed)
    return nan


class _Watch:
    """One network at one settled window."""

    def __init__(self, state: dict[str, Any], network: Network, settled: Settled):
        self.state = state
        self.network = network
        self.settled = settled
        self.timezone = settled.site.site.timezone
        self.told: list[Anomaly] = []
        self.alarms: list[dict[str, Any]] = [dict(a) for a in state.get("alarms", ())]

    def take(self, window: WaterWindow) -> None:
        """Take in a window and say what follows."""
        turn_day(self.state, window, self.timezone, self._undisturbed)
        windows = self._as_booked()
        passed = _passed_m3_h(windows)
        if isfinite(passed):
            self.state["passed_m3_h"] = passed  # the norm is a share of it, also when its meter is silent
        usual = usual_of(days_of(self.state))
        learning = usual is None
        if usual is None:
            if not isfinite(self._passed_m3_h(windows)):
                return  # nothing is known that a loss could be compared with
            usual = by_norm(self._norm_pct / 100.0 * self._passed_m3_h(windows))
        for alarm in self.alarms:
            self._explained(alarm, windows, usual)
        active = next((a for a in self.alarms if a["state"] == State.ACTIVE), None)
        self.state["pressure"] = remembered(
            self.state.get("pressure"), self.network, self.settled, lost=active is not None,
            disturbed=self._lost_between,
        )  # fmt: skip
        if active is None:
            self._look(windows, usual, learning=learning)
        else:
            self._follow(active, windows, usual, learning=learning)
        oldest = windows[0].start_ms
        self.state["alarms"] = [
            a for a in self.alarms if a["state"] == State.ACTIVE or a["until_ms"] > oldest
        ]

    def _passed_m3_h(self, windows: Sequence[WaterWindow], otherwise: Sequence[WaterWindow] = ()) -> float:
        passed = _passed_m3_h(windows, otherwise)
        return passed if isfinite(passed) else float(self.state.get("passed_m3_h", nan))

    @property
    def _norm_pct(self) -> float:
        limit = self.network.makeup_limit_pct
        return DEFAULT_LEAK_PCT if limit is None else limit

    def _undisturbed(self, windows: Sequence[WaterWindow]) -> list[WaterWindow]:
        """Windows outside of every alarm, with what was booked since."""
        return [
            w
            for w in self._booked_now(windows)
            if not any(
                a["first_ms"] <= w.start_ms and (a["state"] == State.ACTIVE or w.start_ms < a["until_ms"])
                for a in self.alarms
            )
        ]

    def _lost_between(self, from_ms: int, to_ms: int) -> bool:
        return any(
            a["first_ms"] < to_ms and (a["state"] == State.ACTIVE or from_ms < a["until_ms"])
            for a in self.alarms
        )

    def _as_booked(self) -> list[WaterWindow]:
        return self._booked_now([WaterWindow(*w) for w in self.state["windows"]])

    def _booked_now(self, windows: Sequence[WaterWindow]) -> list[WaterWindow]:
        """`windows` by all that has been booked until now."""
        if not windows:
            return []
        events = self.settled.events.of(self.network.id, windows[0].start_ms, self.settled.end_ms)
        volumes = [(e.t, e.volume_m3) for e in events if e.volume_m3 is not None and e.volume_m3 >= 0.0]
        if not volumes:
            return [w._replace(leak_m3=w.leak_m3 + w.booked_m3, booked_m3=0.0) for w in windows]
        now = []
        for w in windows:
            end_ms = w.start_ms + w.hours * _H_MS
            booked = sum(v for t, v in volumes if w.start_ms <= t < end_ms)
            now.append(w._replace(leak_m3=w.leak_m3 + w.booked_m3 - booked, booked_m3=booked))
        return now

    def _explained(self, alarm: dict[str, Any], windows: Sequence[WaterWindow], usual: Usual) -> None:
        """Take an alarm back that what was booked since explains."""
        until_ms = alarm["until_ms"]
        if until_ms <= alarm["first_ms"]:  # taken back already
            return
        # What took hours is booked when it is done, at a time when no more is lost.
        late = [w.start_ms + 1 for w in windows
                if w.booked_m3 > 0.0 and 0 <= w.start_ms - until_ms < _BOOKED_WITHIN_H * _H_MS]  # fmt: skip
        mine = [w for w in windows if alarm["first_ms"] <= w.start_ms < max([until_ms, *late])]
        booked = sum(w.booked_m3 for w in mine)
        if booked <= alarm["booked_m3"] or not mine or mine[0].start_ms != alarm["first_ms"]:
            return
        if loss_since(mine, usual)[1] < _GONE:
            alarm["state"] = str(State.ENDED)
            self._say(alarm, Status.WITHDRAWN)
            alarm["until_ms"] = alarm["first_ms"]

    def _look(self, windows: Sequence[WaterWindow], usual: Usual, *, learning: bool) -> None:
        since = max(
            [a["until_ms"] for a in self.alarms] + [windows[-1].start_ms - _LOOK_BACK_MS],
            default=0,
        )
        recent = [w for w in windows if w.start_ms >= since]
        loss = find_loss(recent, usual)
        held = self.state.get("held_h", 0.0) + recent[-1].hours if loss.score >= ENOUGH else 0.0
        self.state["held_h"] = held
        passed = self._passed_m3_h(recent, windows)
        norm_m3_h = self._norm_pct / 100.0 * passed
        if held < _CONFIRM_H and not (held > 0.0 and loss.size_m3_h >= _AT_ONCE * norm_m3_h):
            return
        self.state["held_h"] = 0.0
        alarm = {
            "first_ms": loss.onset_ms, "until_ms": self.settled.end_ms, "state": str(State.ACTIVE),
            "code": "", "booked_m3": 0.0, "window_ms": round(windows[-1].hours * _H_MS),
        }  # fmt: skip
        self.alarms.append(alarm)
        self._describe(alarm, windows, usual, loss, learning=learning)
        self._say(alarm)

    def _follow(
        self, alarm: dict[str, Any], windows: Sequence[WaterWindow], usual: Usual, *, learning: bool
    ) -> None:
        """Go on with an alarm: it grows, turns out to be of another manner, or ends."""
        quiet_h = _QUIET_H.get(alarm["code"], _QUIET_ELSE_H)
        # A window may be longer than that.
        last = [w for w in windows if w.start_ms >= self.settled.end_ms - quiet_h * _H_MS] or windows[-1:]
        rate, score = loss_since(last, usual)
        long_ago = alarm["first_ms"] <= self.settled.end_ms - quiet_h * _H_MS
        if long_ago and score < _GONE and rate < alarm["size_m3_h"] / 2.0:
            alarm["state"] = str(State.ENDED)
            self._say(alarm)
            return
        if loss_since(windows[-1:], usual)[1] >= _GONE:
            alarm["until_ms"] = self.settled.end_ms
        mine = _during(alarm, windows)
        loss = find_loss(mine, usual)
        self._describe(alarm, windows, usual, loss, learning=learning)
        self._say(alarm)

    def _describe(
        self,
        alarm: dict[str, Any],
        windows: Sequence[WaterWindow],
        usual: Usual,
        loss: Loss,
        *,
        learning: bool,
    ) -> None:
        """Size, severity and evidence of an alarm by all windows since its beginning, in place."""
        mine = _during(alarm, windows)
        rate, score = loss_since(mine, usual)
        manner = manner_of(mine, usual, rate, [self._local_h(w.start_ms) for w in mine])
        if alarm["code"] not in {"", manner.code} and manner.confidence >= _TURNED:
            self._say({**alarm, "state": str(State.ENDED)}, Status.WITHDRAWN)
            alarm["code"] = manner.code
        alarm["code"] = alarm["code"] or manner.code
        passed = self._passed_m3_h(mine, windows)
        norm_m3_h = self._norm_pct / 100.0 * passed
        alarm["size_m3_h"], alarm["score"] = rate, max(score, loss.score) / ENOUGH
        alarm["booked_m3"] = sum(w.booked_m3 for w in mine)
        alarm["severity"] = str(_severity(rate, norm_m3_h))
        alarm["evidence"] = self._evidence(mine, usual, loss, manner, rate, passed, learning=learning)

    def _evidence(
        self,
        mine: Sequence[WaterWindow],
        usual: Usual,
        loss: Loss,
        manner: Manner,
        rate_m3_h: float,
        passed_m3_h: float,
        *,
        learning: bool,
    ) -> dict[str, Any]:
        """Numbers, window and rule."""
        lost = rate_m3_h * sum(w.hours for w in mine)
        mountings = {
            d.mounting
            for d in self.settled.site.site.devices.values()
            if d.network == self.network.id and d.device_class == "plant"
        }
        metered = next(iter(mountings)) if len(mountings) == 1 else None
        other = {"supply": "return", "return": "supply"}.get(metered or "")
        side = {"metered": metered, "other": other}.get(side_of(mine, lost))
        placed, names = nobody_knows("no_pressure"), list[str]()
        if manner.code == LEAK and isfinite(loss.size_u_m3_h):
            kg_s = _MAKEUP_KG_M3 / 3600.0
            placed, names = whereabouts(
                self.state.get("pressure"), self.network, self.settled, kg_s * rate_m3_h,
                kg_s * loss.size_u_m3_h / COVERAGE_FACTOR,
            )  # fmt: skip
        return {
            "rule": f"excess over the usual loss at least {ENOUGH:g} times its standard uncertainty",
            "excess_m3_h": _short(rate_m3_h),
            "excess_u_m3_h": _short(loss.size_u_m3_h),
            "excess_pct": _short(100.0 * rate_m3_h / passed_m3_h) if passed_m3_h > 0.0 else None,
            "lost_m3": _short(lost),
            "cost_m3_day": _short(24.0 * rate_m3_h),
            "onset_from_ms": loss.onset_from_ms,
            "onset_to_ms": loss.onset_to_ms,
            "usual_m3_h": _short(usual.rate_m3_h),
            "usual_u_m3_h": _short(usual.rate_u_m3_h),
            "usual_days": usual.days,
            "learning": learning,
            "confidence": _short(manner.confidence),
            "floor_share": _short(manner.floor_share),
            "busiest_h": list(manner.busiest_h),
            **_where(placed, names, side),
        }

    def _local_h(self, at_ms: int) -> int:
        return datetime.fromtimestamp(at_ms / 1000, ZoneInfo(self.timezone)).hour

    def _say(self, alarm: dict[str, Any], status: Status = Status.FINAL) -> None:
        network = self.network
        found = Anomaly(
            f"network:{network.id}", alarm["code"], Severity(alarm["severity"]), alarm["score"],
            alarm["evidence"], alarm["first_ms"], alarm["until_ms"], alarm["window_ms"], network.unit,
            self.settled.site.site.units[network.unit].region, State(alarm["state"]), _MODEL, status,
        )  # fmt: skip
        self.told.append(found)


def _during(alarm: dict[str, Any], windows: Sequence[WaterWindow]) -> list[WaterWindow]:
    """Windows from the beginning of an alarm to the last in which water was lost; else the newest."""
    mine = [w for w in windows if alarm["first_ms"] <= w.start_ms < alarm["until_ms"]]
    return mine or list(windows[-1:])


def _where(placed: Situated, names: Sequence[str], side: str | None) -> dict[str, Any]:
    """Evidence of where: by the pressures, else by which side's meters miss it, else nowhere."""
    side = placed.side or side
    branch = None if placed.branch is None else names[placed.branch]
    candidates = [names[pipe] for pipe in placed.candidates]
    located = f"somewhere on the {side}" if side else "not located"
    if candidates:
        located = candidates[0] if len(candidates) == 1 else f"one of {', '.join(candidates)}"
    elif branch is not None:
        located = f"behind {branch}"
    return {
        "side": side,
        "branch": branch,
        "candidates": candidates,
        "place_confidence": _short(placed.confidence) if not placed.reason else None,
        "place_reason": placed.reason or None,
        "located": located,
    }


def _severity(rate_m3_h: float, norm_m3_h: float) -> Severity:
    """By the norm for make-up: one norm more is much, a fifth of it little; major where nobody knows it."""
    if not isfinite(norm_m3_h):
        return Severity.MAJOR
    if rate_m3_h >= 2.0 * norm_m3_h:
        return Severity.CRITICAL
    if rate_m3_h >= norm_m3_h:
        return Severity.MAJOR
    return Severity.MINOR if rate_m3_h >= 0.2 * norm_m3_h else Severity.INFO


def _short(value: float) -> float | None:
    """Four digits; None for what is not known."""
    return None if value != value else float(f"{value:.4g}")  # noqa: PLR0124  NaN
