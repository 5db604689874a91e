"""A page with a plot of every fault as an operator would see it; it loads nothing from elsewhere."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from models.site import Site
from models.wire import TELEMETRY, parse_topic
from simulator.case import Case, parse
from simulator.fleet import UnitReadings
from simulator.gallery_shows import SHOWS, Panel, Run, Show
from simulator.kinds import KINDS, Fault
from simulator.telemetry import messages

__all__ = ["draw"]

Array = NDArray[np.float64]

_SEED: Final = 3
_HOUR_MS: Final = 3_600_000.0
_WITH, _WITHOUT, _ONSET, _DEADLINE = "#b2182b", "#8c8c8c", "#1a1a1a", "#2166ac"
_STYLE: Final[dict[Any, Any]] = {
    "svg.hashsalt": "hearthline", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9.0,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25,
    "path.simplify": True, "path.simplify_threshold": 0.5,
}  # fmt: skip


def draw(
    out: Path, *, kinds: Sequence[str] = tuple(SHOWS), progress: Callable[[float], None] = lambda _: None
) -> int:
    """Simulate a fault of every kind and draw them into one HTML file; gives their number.

    The same version gives the same bytes.

    Parameters
    ----------
    kinds : sequence of str
        Which ones.
    progress : callable
        Told the share that is done, 0 to 1.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    sound: dict[tuple[float, float], Run] = {}
    sections = []
    with mpl.rc_context(_STYLE):
        for number, (kind, show) in enumerate((kind, SHOWS[kind]) for kind in kinds):
            key = show.hours, show.interval_s
            if key not in sound:
                sound[key] = _run(_case(show))
            case = _case(show, kind)
            readings = UnitReadings.of(case)
            run = _run(case, readings)
            fault = case.faults[0]
            onset_ms = fault.onset_ms
            if kind == "counter_rollover":
                onset_ms = readings.faults.first_ms.get(fault, onset_ms)
            sections.append(_section(kind, show, _figure(show, fault, onset_ms, run, sound[key])))
            progress((number + 1) / len(kinds))
    out.write_text(_page(kinds, sections), encoding="utf-8")
    return len(sections)


def _case(show: Show, kind: str = "") -> Case:
    text = (
        f"seed = {_SEED}\nstart = 2026-01-10T00:00:00Z\nhours = {show.hours}\n"
        f"interval_s = {show.interval_s}\n[unit]\nsubstations = 6\ntrucks = 0\n"
    )
    if kind:
        text += f'[[fault]]\nkind = "{kind}"\nplace = "{show.place}"\nonset_h = {show.onset_h}\n'
        text += f"size = {show.size}\n" if show.size is not None else ""
        text += f"ramp_h = {show.ramp_h}\n" if show.ramp_h else ""
        text += f"until_h = {show.onset_h + show.lasts_h}\n" if show.lasts_h else ""
    return parse("gallery", text, _no_site)


def _no_site(name: str) -> Site:
    raise FileNotFoundError(name)


def _run(case: Case, readings: UnitReadings | None = None) -> Run:
    """Everything that a case's devices say, as it was received."""
    samples: dict[str, list[dict[str, float]]] = {}
    for message in messages(case.seed, case.start_ms, case.hours, readings=readings or UnitReadings.of(case)):
        topic = parse_topic(message["topic"])
        if topic.kind == TELEMETRY:
            for sample in message["payload"]["samples"]:
                samples.setdefault(topic.device, []).append({**sample, "received_ms": message["received_ms"]})
    return Run(samples)


def _figure(show: Show, fault: Fault, onset_ms: int, run: Run, sound: Run) -> str:
    """The plots of one fault as SVG."""
    figure = Figure(figsize=(9.6, 0.55 + 1.55 * len(show.panels)), layout="constrained")
    axes = figure.subplots(len(show.panels), 1, squeeze=False)[:, 0]
    span_h = (-show.onset_h, show.hours - show.onset_h)
    deadline_h = KINDS[fault.kind].deadline_h
    for ax, panel in zip(axes, show.panels, strict=True):
        _plot(ax, panel, sound, onset_ms, color=_WITHOUT, width=1.6, label="without the fault")
        _plot(ax, panel, run, onset_ms, color=_WITH, width=0.9, label="with the fault")
        _limit(ax, panel, run, sound)
        low, high = panel.zoom_h or span_h
        ax.set_xlim(low, high)
        ax.axvline(0.0, color=_ONSET, lw=1.0, ls="--", label="onset")
        if low <= deadline_h <= high:
            ax.axvline(deadline_h, color=_DEADLINE, lw=1.4, ls="-.", label="deadline")
        else:
            ax.annotate(
                f"deadline {deadline_h:g} h →", (1.0, 1.0), xycoords="axes fraction", ha="right", va="bottom",
                color=_DEADLINE, fontsize=8,
            )  # fmt: skip
        if fault.kind == "flushing":
            booked_h = (fault.until_ms - onset_ms) / _HOUR_MS
            ax.axvline(booked_h, color="#4d9221", lw=1.2, ls=":", label="booked by the office")
        ax.set_ylabel(panel.label)
        ax.yaxis.set_major_locator(MaxNLocator(4))
    axes[-1].set_xlabel("hours after the onset")
    handles = {
        label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=5, frameon=False)
    svg = io.StringIO()
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return svg.getvalue()


def _plot(ax: Axes, panel: Panel, run: Run, onset_ms: int, *, color: str, width: float, label: str) -> None:
    t, values = panel.value(run)
    hours = (t - onset_ms) / _HOUR_MS
    if panel.dots:
        ax.plot(hours, values, ".", color=color, ms=2.5 if width > 1.0 else 2.0, label=label, rasterized=True)
        return
    gap_h = 3.0 * float(np.median(np.diff(hours)))
    breaks = np.flatnonzero(np.diff(hours) > gap_h) + 1
    ax.plot(
        np.insert(hours, breaks, np.nan),
        np.insert(values, breaks, np.nan),
        color=color,
        lw=width,
        label=label,
    )


def _limit(ax: Axes, panel: Panel, run: Run, sound: Run) -> None:
    """Leave room above and below, and do not blow up what hardly moves."""
    seen = np.concatenate([panel.value(run)[1], panel.value(sound)[1]])
    low, high = float(np.nanmin(seen)), float(np.nanmax(seen))
    room = max(0.08 * (high - low), 1e-3 * max(abs(low), abs(high)), 1e-9)
    ax.set_ylim(low - room, high + room)


def _section(kind: str, show: Show, svg: str) -> str:
    about = KINDS[kind]
    title = kind.replace("_", " ")
    picture = base64.b64encode(svg.encode()).decode()
    size = f"{show.size:g} ({about.size})" if show.size is not None else "none"
    lasts = f"for {show.lasts_h:g} h" if show.lasts_h else "to the end"
    grows = f", grows over {show.ramp_h:g} h" if show.ramp_h else ""
    facts = (
        f"at {show.place}; size: {size}{grows}; {lasts}. Staff want to know within {about.deadline_h:g} h."
    )
    alt = f"{title}: {about.shows}"
    return (
        f'<section id="{kind}"><h2>{html.escape(title)} <code>{kind}</code></h2>'
        f"<p>{html.escape(about.shows[0].upper() + about.shows[1:])}.</p>"
        f'<p class="facts">{html.escape(facts)}</p>'
        f'<img alt="{html.escape(alt, quote=True)}" src="data:image/svg+xml;base64,{picture}"></section>'
    )


_CSS: Final = """
:root { color-scheme: light }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 62rem;
  margin: 0 auto; padding: 1rem }
h1 { margin: .5rem 0 }
h2 { margin: 2.2rem 0 .2rem; font-size: 1.25rem }
h2 code { font-size: .8rem; color: #666; font-weight: normal }
p { margin: .2rem 0 }
.facts { color: #555; font-size: .9rem }
.simulated { background: #fff4d6; border: 1px solid #e0b84c; padding: .5rem .8rem }
nav { columns: 3 12rem; margin: 1rem 0 }
nav a { display: block; color: #2166ac; text-decoration: none }
nav a:hover { text-decoration: underline }
img { width: 100%; height: auto; display: block; margin-top: .4rem }
@media print { section { break-inside: avoid } }
"""


def _page(kinds: Sequence[str], sections: list[str]) -> str:
    links = "".join(f'<a href="#{kind}">{html.escape(kind.replace("_", " "))}</a>' for kind in kinds)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<title>Faults of a heating network, simulated</title><style>{_CSS}</style></head><body>"
        "<h1>Faults of a heating network</h1>"
        '<p class="simulated">Everything here is simulated: one plant and six substations in a made-up '
        "January. Grey is the same unit in the same weather without the fault, which no operator has; "
        "red is what the meters say with it.</p>"
        f"<nav>{links}</nav>{''.join(sections)}</body></html>\n"
    )
