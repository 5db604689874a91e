"""Where a leak is said to be, on a tree whose pressures follow from its own friction."""

from __future__ import annotations

import numpy as np
import pytest

from models.leak_location import (
    Residuals,
    fitted,
    friction_kpa_s2_kg2,
    residuals,
    situated,
    ways,
)
from models.pipe_network import PipeNetwork
from models.site import Pipe

BRANCHES, HOUSES = 4, 4
SENSOR_KPA = 0.1
DRAW_KG_S = 1.5


def tree() -> tuple[PipeNetwork, list[str], list[str]]:
    """A trunk with branches of houses in a row; the pipes' and the houses' names."""
    pipes = [Pipe("0-trunk", "n", "p", "t", 800.0, 0.20, 0.3)]
    houses = []
    for b in range(BRANCHES):
        before = "t"
        for h in range(HOUSES):
            pipes.append(Pipe(f"{b + 1}-{h}", "n", before, f"h{b}{h}", 200.0, 0.08, 0.2))
            houses.append(before := f"h{b}{h}")
    return PipeNetwork.of(pipes), sorted(p.pipe for p in pipes), houses


NETWORK, NAMES, HOUSES_AT = tree()
ROOT = NETWORK.nodes["p"]
AT = np.array([NETWORK.nodes[h] for h in HOUSES_AT])
WAY = ways(NETWORK, ROOT)


def drops_kpa(load: float, leak: str = "", size_kg_s: float = 0.0, *, hot: bool = True) -> np.ndarray:
    """Drops of supply and return at all houses, of pipes with half more friction than registered."""
    friction = 1.5 * friction_kpa_s2_kg2(NETWORK)
    draw = np.zeros(len(NETWORK.nodes))
    draw[AT] = DRAW_KG_S * load
    out = []
    for side in (True, False):
        with_leak = draw.copy()
        if leak and side == hot:
            with_leak[NETWORK.nodes[leak]] += size_kg_s if hot else -size_kg_s
        flow = NETWORK.flows(with_leak[:, None], ROOT)[0][:, 0]
        out.append((WAY @ (friction * flow * np.abs(flow)))[AT])
    return np.array(out)


def slopes(load: float) -> np.ndarray:
    draw = np.zeros(len(NETWORK.nodes))
    draw[AT] = DRAW_KG_S * load
    return 2.0 * friction_kpa_s2_kg2(NETWORK) * np.abs(NETWORK.flows(draw[:, None], ROOT)[0][:, 0])


def summed(drops: list[np.ndarray], loads: list[float], rng: np.random.Generator) -> np.ndarray:
    """Sums of a time, of sensors that scatter and stand at heights of their own."""
    heights = np.linspace(-30.0, 30.0, len(AT))
    total = np.zeros((6, 2, len(AT)))
    for drop, load in zip(drops, loads, strict=True):
        y = drop + heights + SENSOR_KPA * rng.standard_normal(drop.shape)
        flow = slopes(load) / (2.0 * friction_kpa_s2_kg2(NETWORK))
        x = np.broadcast_to((WAY @ (friction_kpa_s2_kg2(NETWORK) * flow**2))[AT], y.shape)
        total += np.array([np.ones_like(y), x, y, x * x, x * y, y * y])
    return total


def said(leak: str, size_kg_s: float, *, hot: bool = True, claimed_kg_s: float | None = None):
    rng = np.random.default_rng(4)
    loads = [0.8 + 0.4 * abs(np.sin(n)) for n in range(72)]
    usual = fitted(summed([drops_kpa(load) for load in loads], loads, rng))
    since = [0.9, 1.0, 1.1, 1.0] * 3
    seen = residuals(usual, summed([drops_kpa(x, leak, size_kg_s, hot=hot) for x in since], since, rng), 24.0)
    size = size_kg_s if claimed_kg_s is None else claimed_kg_s
    return situated(seen, WAY, AT, slopes(1.0), size, 0.1 * size)


def test_each_way_has_its_pipes():
    assert WAY[ROOT].sum() == 0.0
    far = WAY.toarray()[NETWORK.nodes["h23"]]
    assert {NAMES[n] for n in np.flatnonzero(far)} == {"0-trunk", "3-0", "3-1", "3-2", "3-3"}


def test_the_line_of_a_consumer_is_its_height_and_its_pipes_friction():
    rng = np.random.default_rng(1)
    loads = [0.8 + 0.4 * abs(np.sin(n)) for n in range(72)]
    fit = fitted(summed([drops_kpa(load) for load in loads], loads, rng))
    assert fit.share == pytest.approx(1.5, rel=0.1)
    assert fit.scatter_kpa == pytest.approx(SENSOR_KPA, rel=0.5)
    assert np.abs(fit.share - 1.5).mean() < 3.0 * fit.share_u.mean()


@pytest.mark.parametrize("hot", [True, False], ids=["supply", "return"])
@pytest.mark.parametrize("branch", range(BRANCHES))
def test_a_leak_is_found_in_its_branch_and_on_its_side(branch, hot):
    found = said(f"h{branch}2", 0.4, hot=hot)
    assert found.reason == ""
    assert found.side == ("supply" if hot else "return")
    assert found.branch is not None
    assert NAMES[found.branch].startswith(f"{branch + 1}-")
    assert found.confidence >= 0.95
    assert all(NAMES[n].startswith(f"{branch + 1}-") for n in found.candidates)
    assert len(found.candidates) <= 3


def test_a_leak_that_pressures_hardly_feel_is_not_located():
    assert said("h12", 0.0004).reason == "no_trace"
    assert said("h12", 0.0, claimed_kg_s=0.4).reason == "no_trace"


def test_a_leak_on_the_trunk_is_behind_no_branch():
    found = said("t", 0.4)
    assert found.branch is None
    assert not found.candidates or NAMES[found.candidates[0]] == "0-trunk"


def test_pressures_that_no_leak_explains_say_nothing():
    """Every other house drops by more: a leak would bend the whole branch."""
    more = np.zeros((2, len(AT)))
    more[0, ::2] = 5.0
    more[0, 5] = 20.0
    seen = Residuals(more, np.full(more.shape, SENSOR_KPA), np.ones(more.shape))
    assert situated(seen, WAY, AT, slopes(1.0), 0.4, 0.04).reason in {"no_fit", "no_trace"}


def test_without_pressures_nobody_knows():
    empty = np.full((2, len(AT)), np.nan)
    seen = Residuals(empty, np.ones(empty.shape), np.ones(empty.shape))
    assert situated(seen, WAY, AT, slopes(1.0), 0.4, 0.04).reason == "no_pressure"
    few = fitted(np.zeros((6, 2, len(AT))))
    assert np.isnan(residuals(few, np.ones((6, 2, len(AT))), 24.0).more_kpa).all()
