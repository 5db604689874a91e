"""U learnt from arriving temperatures: against pipes whose U is known, with sensors that are off."""

from __future__ import annotations

import numpy as np
import pytest

from models.pipe import outlet_c
from models.pipe_learning import Arrivals, expected_drop_k, learnt_factor, noted
from models.pipe_network import PipeNetwork
from models.site import Pipe

GROUND_C = 5.0


def line(length_m: float, consumers: int, factor: float = 1.0) -> PipeNetwork:
    """Consumers along one pipe, at even distances."""
    return PipeNetwork.of(
        Pipe(f"p{n:02}", "n", "plant" if n == 0 else f"c{n - 1}", f"c{n}", length_m, 0.1, 0.25 * factor)
        for n in range(consumers)
    )


def drops(length_m: float, consumers: int, factor: float, kg_s: float, supply_c: float, about: float = 1.0):
    pipes = line(length_m, consumers, factor)
    draw = np.zeros(len(pipes.nodes))
    at = [pipes.nodes[f"c{n}"] for n in range(consumers)]
    draw[at] = kg_s
    drop, slope = expected_drop_k(pipes, draw, pipes.nodes["plant"], supply_c, GROUND_C, about)
    return drop[at], slope[at]


def learnt(rng, length_m: float, factor: float, days: int = 20, consumers: int = 12):
    """A factor from days of changing flow, each sensor off by its own."""
    limit = (0.3 + 0.005 * 80.0) * rng.uniform(-1.0, 1.0, consumers + 1)
    seen = Arrivals.empty(consumers)
    for day in range(days):
        kg_s = 0.5 + 0.3 * np.sin(day)
        true, _ = drops(length_m, consumers, factor, kg_s, 80.0)
        before = learnt_factor(seen, 80.0)
        expected, slope = drops(length_m, consumers, 1.0, kg_s, 80.0, before.factor if before else 1.0)
        measured = true + limit[0] - limit[1:] + 0.1 * rng.standard_normal(consumers)
        seen = noted(seen, measured, expected, slope)
    return learnt_factor(seen, 80.0)


def test_the_drop_along_a_line_is_that_of_pipe_after_pipe():
    drop, slope = drops(400.0, 3, 1.0, 0.5, 90.0)
    arriving = [90.0]
    for behind in (1.5, 1.0, 0.5):
        # `outlet_c` takes the heat capacity at each inlet: a thousandth apart.
        arriving.append(float(outlet_c(arriving[-1], GROUND_C, behind, 400.0, 0.25)))
    assert drop == pytest.approx(90.0 - np.array(arriving[1:]), rel=2e-3)
    more, _ = drops(400.0, 3, 1.01, 0.5, 90.0)
    assert (more - drop) / 0.01 == pytest.approx(slope, rel=0.02)


def test_it_is_learnt_where_water_is_long_on_its_way():
    rng = np.random.default_rng(1)
    pulls = []
    for factor in (0.8, 1.0, 1.3):
        for _ in range(20):
            got = learnt(rng, 400.0, factor)
            assert got.factor_u < 0.1
            pulls.append((got.factor - factor) / got.factor_u)
    assert np.sqrt(np.mean(np.square(pulls))) < 1.3
    assert np.mean(np.abs(pulls) < 2.0) > 0.9


def test_on_short_pipes_the_sensors_hide_it_and_that_is_said():
    got = learnt(np.random.default_rng(2), 5.0, 1.3)
    assert got.factor_u > 0.2
    assert got.drop_k < 1.0


def test_nothing_seen_is_nothing_learnt():
    assert learnt_factor(Arrivals.empty(3), 80.0) is None
    none = np.full(3, np.nan)
    assert learnt_factor(noted(Arrivals.empty(3), none, none, none), 80.0) is None
    pipes = line(100.0, 2)
    drop, _ = expected_drop_k(pipes, np.zeros(3), pipes.nodes["plant"], 80.0, GROUND_C)
    assert np.isnan(np.delete(drop, pipes.nodes["plant"])).all(), "water that stands tells nothing"
