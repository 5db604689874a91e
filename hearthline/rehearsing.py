"""Rules tried on the past, and the week's alarms, for `hearthline alarms`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from alerts.codes import name_of
from alerts.quality import over
from alerts.rehearsal import Rehearsed, caught, rehearse, within, words_of
from alerts.rows import ALARM
from alerts.rules import Route, Rule, RuleSet, SitePolicy
from hearthline.alerting import load_rules
from hearthline.cli import UsageError
from hearthline.site_dir import open_site
from ingest.clock import wall_clock
from models.anomaly import ANOMALY
from models.site import Site
from store.protocol import Select

__all__ = ["rehearsed", "told", "weekly"]

_DAY_MS: Final = 86_400_000
_WATCHED: Final = ("device_heat", "ledger")
"""Results that are there while anything is watched."""
_FIGURES: Final = (
    ("alarms", "alarms"), ("a_day", "a desk a day"), ("worst_10_min", "worst 10 minutes"),
    ("flood_pct", "time in flood, %"), ("chatter", "chattering"), ("stale", "stale over 24 h"),
)  # fmt: skip
_WEEK: Final = {
    "zh": (
        "近七日告警", "条告警", "每台每日", "最差10分钟", "洪泛时间 %", "抖动", "超24小时未消", "最频繁",
        "未关闭",
    ),
    "en": (
        "Alarms of the last seven days", "alarms", "a desk a day", "worst 10 minutes", "time in flood, %",
        "chattering", "stale over 24 h", "worst actors", "open now",
    ),
}  # fmt: skip

Ask = Callable[[Select], pa.Table]


def rehearsed(
    select: Ask, site_dir: Path, file: Path | None, days: int, truth: Path | None
) -> dict[str, Any]:
    """Figures before and after, the limits that are broken, and what of the truth was caught."""
    site = open_site(site_dir)
    before_rules = load_rules(site_dir, site)
    after_rules = before_rules if file is None else load_rules(site_dir, site, file)
    # New rules that allow themselves more are held to the present limits and desks all the same.
    after_rules = replace(after_rules, desks=min(after_rules.desks, before_rules.desks))
    anomalies = select(Select(ANOMALY))
    alarms = select(Select(ALARM))
    oldest_ms, to_ms = _span_ms(select, anomalies, alarms)
    # Time before anything was known would water down what is counted a day.
    from_ms = max(to_ms - days * _DAY_MS, oldest_ms)
    words = words_of(anomalies, alarms if alarms.num_rows else _NO_ALARMS, 1000 * site.lateness_s)
    words = within(words, from_ms)
    before = rehearse(words, SitePolicy(_heard(before_rules), site), from_ms, to_ms)
    after = before
    if file is not None:
        after = rehearse(words, SitePolicy(_heard(after_rules), site), from_ms, to_ms)
    limits = after_rules.limits.stricter(before_rules.limits)
    result: dict[str, Any] = {
        "from": from_ms, "to": to_ms, "days": days, "measured_days": (to_ms - from_ms) / _DAY_MS,
        "conditions": len({w.condition.key for w in words}),
        "before": _said(before), "after": _said(after), "rules": None if file is None else str(file),
        "over": over(after.figures, limits), "limits": asdict(limits),
    }  # fmt: skip
    if truth is not None:
        result["truth"] = {
            name: _caught(x, truth, site) for name, x in (("before", before), ("after", after))
        }
    return result


_NO_ALARMS: Final = pa.table({"provisional": pa.array([], pa.bool_())})


def _heard(rules: RuleSet) -> RuleSet:
    """Rules without any route tell nobody: then the board itself is the desk, and all is heard there."""
    if any(rule.route for rule in rules.rules):
        return rules
    routes = {"board": Route("board", ("board",))}
    heard = tuple(replace(rule, route="board") for rule in rules.rules)
    return replace(rules, routes=routes, rules=(*heard, Rule(route="board")))


def _span_ms(select: Ask, anomalies: pa.Table, alarms: pa.Table) -> tuple[int, int]:
    """Beginning and end of what is known, by all that is stored: weeks without alarms count too. [ms UTC]"""
    known = (
        [*anomalies["until"].to_pylist(), *anomalies["window_start"].to_pylist()]
        if anomalies.num_rows
        else []
    )
    known += alarms["since"].to_pylist() if alarms.num_rows else []
    for name in _WATCHED:
        for newest in (False, True):
            known += select(Select(name, limit=1, newest_first=newest))["window_start"].to_pylist()
    ends = [k for k in known if k is not None] or [wall_clock()]
    return min(ends), max(ends) + _DAY_MS // 24


def _said(one: Rehearsed) -> dict[str, Any]:
    return {**one.figures.to_json(), "counts": dict(one.alarms)}


def _caught(one: Rehearsed, truth: Path, site: Site) -> dict[str, Any]:
    try:
        faults = json.loads(truth.read_text(encoding="utf-8"))["faults"]
        yes, no = caught(one, [f for f in faults if "onset_ms" in f], site)
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"--truth: expected a truth_faults.json of simulate, got {truth}: {error}"
        raise UsageError(msg) from error
    return {"caught": yes, "missed": no}


def told(result: dict[str, Any]) -> str:
    """The result as text."""
    tried = ("before", "after") if result["rules"] else ("before",)
    lines = [
        f"{result['conditions']} conditions in {result['measured_days']:.3g} days"
        + (f" (of {result['days']}: nothing is known of before)" if _short(result) else ""),
        f"{'':24}"
        + "".join(f"{when if result['rules'] else 'as it was':>12}" for when in tried)
        + f"{'limit':>12}",
    ]
    for name, label in _FIGURES:
        limit = result["limits"].get(name)
        lines.append(
            f"{label:24}" + "".join(f"{result[when][name]:>12.4g}" for when in tried)
            + ("" if limit is None else f"{limit:>12.4g}")
        )  # fmt: skip
    for when in tried:
        if worst := result[when]["worst"]:
            lines.append(f"worst {when}: " + ", ".join(f"{n} ×{c}" for n, c in list(worst.items())[:5]))
        if "truth" in result:
            known = result["truth"][when]
            missed = f" ({', '.join(known['missed'][:10])})" if known["missed"] else ""
            lines.append(
                f"truth {when}: {len(known['caught'])} caught, {len(known['missed'])} missed{missed}"
            )
    lines += [f"over the limit: {what}" for what in result["over"]]
    if result["over"] and result["forced"]:
        lines.append(f"forced: {result['forced']}")
    return "\n".join(lines)


def _short(result: dict[str, Any]) -> bool:
    return bool(result["measured_days"] < result["days"])


def weekly(select: Ask, site_dir: Path, language: str) -> tuple[dict[str, Any], str]:
    """The last seven days by the present rules, and what is open now; as data and as text."""
    result = rehearsed(select, site_dir, None, 7, None)
    standing = select(Select("alarm_open")).to_pylist()
    result["open"] = [{"id": r["key"], "severity": r["severity"], "state": r["state"]} for r in standing]
    words, figures = _WEEK[language], result["after"]
    lines = [words[0], "-" * 40]
    for label, (name, _) in zip(words[1:7], _FIGURES, strict=True):
        lines.append(f"{label}: {figures[name]:.4g}")
    worst = [f"{s} {name_of(c, language)} ×{n}" for (s, _, c), n in _worst(figures["worst"])]
    lines.append(f"{words[7]}: {', '.join(worst) if worst else '–'}")
    lines.append(f"{words[8]}: {len(standing)}")
    lines += [
        f"  {r['severity']:9}{r['state']:14}{r['key']}" for r in sorted(standing, key=lambda r: r["priority"])
    ]
    return result, "\n".join(lines)


def _worst(worst: dict[str, int]) -> list[tuple[tuple[str, str, str], int]]:
    return [(name.rpartition(":"), n) for name, n in worst.items()]
