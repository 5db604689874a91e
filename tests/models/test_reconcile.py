"""Reconciliation over a tree against plain dense algebra, and what its tests say of known faults."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.linalg import qr
from scipy.stats import chi2

from models.metered_tree import OUTSIDE, MeteredTree, TreeShapeError
from models.reconcile import reconcile, serial_elimination


def random_tree(rng, nodes: int) -> MeteredTree:
    """A tree whose every node has one to three streams from or to the outside."""
    names = [f"n{k}" for k in range(nodes)]
    streams = []
    for k in range(1, nodes):
        ends = [names[int(rng.integers(k))], names[k]]
        streams.append((f"s{k}", *(ends if rng.random() < 0.8 else ends[::-1])))
    for k in range(nodes):
        for n in range(int(rng.integers(1, 4))):
            ends = [None, names[k]] if rng.random() < 0.4 else [names[k], None]
            streams.append((f"x{k}.{n}", *ends))
    order = rng.permutation(len(streams))
    return MeteredTree.of(names, [streams[k] for k in order])


def incidence(tree: MeteredTree) -> np.ndarray:
    a = np.zeros((len(tree.nodes), len(tree.streams)))
    for k, (source, sink) in enumerate(zip(tree.source, tree.sink, strict=True)):
        if source != OUTSIDE:
            a[source, k] -= 1.0
        if sink != OUTSIDE:
            a[sink, k] += 1.0
    return a


def balancing(tree: MeteredTree, rng) -> np.ndarray:
    """Flows that balance at every node."""
    a = incidence(tree)
    x = rng.uniform(1.0, 9.0, len(tree.streams))
    return x - a.T @ np.linalg.lstsq(a @ a.T, a @ x, rcond=None)[0]


def projected(a: np.ndarray, lacking: np.ndarray) -> np.ndarray:
    """Balances that hold whatever the unmeasured streams are, by QR."""
    if not lacking.any():
        return a
    q, r, _ = qr(a[:, lacking], pivoting=True)
    rank = int((np.abs(np.diag(r)) > 1e-9).sum())
    return q[:, rank:].T @ a[:, ~lacking]


@pytest.mark.parametrize("seed", range(25))
def test_it_is_weighted_least_squares_with_unmeasured_streams_projected_out(seed):
    rng = np.random.default_rng(seed)
    tree = random_tree(rng, int(rng.integers(1, 12)))
    true = balancing(tree, rng)
    u = rng.uniform(0.05, 0.5, len(true))
    y = true + u * rng.standard_normal(len(true))
    lacking = rng.random(len(y)) < (0.3 if seed % 3 else 0.0)
    y[lacking] = np.nan
    done = reconcile(tree, y, u)
    known = ~lacking
    b = projected(incidence(tree), lacking)
    v = np.diag(u[known] ** 2)
    h = b @ v @ b.T
    r = b @ y[known]
    pull = np.linalg.solve(h, r) if len(r) else r
    adjustment = -v @ b.T @ pull
    w = v @ b.T @ (np.linalg.solve(h, b) if len(r) else b) @ v
    assert done.rank == len(r)
    assert done.chi2 == pytest.approx(float(r @ pull) if len(r) else 0.0, rel=1e-8, abs=1e-9)
    assert done.adjustment[known] == pytest.approx(adjustment, rel=1e-7, abs=1e-10)
    seen = np.diag(w) > 1e-12
    expected = np.abs(adjustment[seen]) / np.sqrt(np.diag(w)[seen])
    assert done.statistic[known][seen] == pytest.approx(expected, rel=1e-6)
    # The generalised likelihood ratio says the size of a bias as well.
    for at, k in enumerate(np.flatnonzero(known)):
        f = b[:, at]
        if seen[at]:
            inverse_f = np.linalg.solve(h, f)
            assert done.size[k] == pytest.approx(inverse_f @ r / (inverse_f @ f), rel=1e-6, abs=1e-9)
            assert done.size_u[k] == pytest.approx(1.0 / np.sqrt(inverse_f @ f), rel=1e-6)
        else:
            assert np.isnan(done.statistic[k]) or done.statistic[k] < 1e-6
    # What is filled in balances; what cannot be known is not.
    full = ~np.isnan(done.value)
    whole = np.array([full[(tree.source == k) | (tree.sink == k)].all() for k in range(len(tree.nodes))])
    assert incidence(tree)[whole] @ np.nan_to_num(done.value) == pytest.approx(0.0, abs=1e-8)
    a_u = incidence(tree)[:, lacking]
    for at, k in enumerate(np.flatnonzero(lacking)):
        free = np.linalg.matrix_rank(np.delete(a_u, at, axis=1)) == np.linalg.matrix_rank(a_u)
        assert not (free and not np.isnan(done.value[k])), "a stream that could be anything has no value"


def star(consumers: int, *, checked: int = 0) -> MeteredTree:
    """One plant and consumers, the first of which have a second meter behind the first."""
    streams = [("plant", None, "net"), ("loss", "net", None)]
    for k in range(consumers):
        streams.append((f"a{k}", "net", f"n{k}" if k < checked else None))
        if k < checked:
            streams.append((f"b{k}", f"n{k}", None))
    return MeteredTree.of(["net", *(f"n{k}" for k in range(checked))], streams)


def test_sound_meters_fail_the_tests_as_often_as_they_say():
    rng = np.random.default_rng(7)
    tree = star(6, checked=3)
    true = balancing(tree, rng)
    u = 0.02 * np.abs(true) + 0.01
    drawn = [reconcile(tree, true + u * rng.standard_normal(len(true)), u) for _ in range(1_000)]
    failed = np.mean([d.fails(0.05) for d in drawn])
    assert 0.03 < failed < 0.07
    assert np.mean([d.chi2 for d in drawn]) == pytest.approx(drawn[0].rank, rel=0.08)
    one = np.mean([np.nanmax(d.statistic) > d.critical for d in drawn])
    assert one < 0.065, "Šidák is on the safe side for tests that go together"
    assert drawn[0].critical > 2.5


def test_a_bias_is_named_with_its_size_and_what_looks_the_same():
    rng = np.random.default_rng(3)
    tree = star(5, checked=3)
    true = balancing(tree, rng) + 10.0
    true[tree.streams.index("plant")] = 0.0
    a = incidence(tree)
    true[tree.streams.index("plant")] = -(a @ true)[0]
    for k in range(3):
        true[tree.streams.index(f"b{k}")] = true[tree.streams.index(f"a{k}")]
    u = np.full(len(true), 0.05)
    y = true + 0.2 * u * rng.standard_normal(len(true))
    assert not reconcile(tree, y, u).fails()
    y[tree.streams.index("a1")] += 2.0
    done, suspects = serial_elimination(tree, y, u)
    assert [tree.streams[k] for k in suspects[0].streams] == ["a1"], "two nodes together tell which"
    assert suspects[0].size == pytest.approx(2.0, abs=3 * suspects[0].size_u)
    assert len(suspects) == 1
    assert not done.fails()
    assert done.value[tree.streams.index("a1")] == pytest.approx(true[tree.streams.index("a1")], abs=0.2)
    y[tree.streams.index("b0")] -= 1.0
    _, suspects = serial_elimination(tree, y, u)
    assert sorted(tree.streams[s.streams[0]] for s in suspects) == ["a1", "b0"]
    by_name = {tree.streams[s.streams[0]]: s for s in suspects}
    assert "n0" in [tree.nodes[k] for k in by_name["b0"].nodes], "a loss at that node looks the same"


def test_streams_of_one_balance_are_named_together():
    tree = star(4)
    y = np.array([40.0, 2.0, 10.0, 9.5, 9.5, 9.0])
    u = np.full(6, 0.1)
    assert not reconcile(tree, y, u).fails()
    y[3] += 3.0
    _, suspects = serial_elimination(tree, y, u)
    assert sorted(suspects[0].streams) == [0, 1, 2, 3, 4, 5]
    assert suspects[0].nodes == (0,)


def test_what_cannot_be_a_tree_is_refused_with_its_place():
    with pytest.raises(TreeShapeError, match=r"stream back: expected a tree, got a loop from c to a"):
        MeteredTree.of(["a", "b", "c"], [("x", "a", "b"), ("y", "b", "c"), ("back", "c", "a")])
    with pytest.raises(TreeShapeError, match=r"node c: expected a stream that joins it, got none"):
        MeteredTree.of(["a", "b", "c"], [("x", "a", "b"), ("in", None, "a")])
    with pytest.raises(TreeShapeError, match=r"stream x: expected one of 1 nodes, got 'q'"):
        MeteredTree.of(["a"], [("x", "a", "q")])
    with pytest.raises(TreeShapeError, match=r"stream x: expected a node at one end, got none"):
        MeteredTree.of(["a"], [("in", None, "a"), ("x", None, None)])


def test_nothing_measured_says_nothing():
    tree = star(3)
    done = reconcile(tree, np.full(5, np.nan), np.full(5, 0.1))
    assert done.rank == 0
    assert not done.fails()
    assert np.isnan(done.value).all()
    assert np.isnan(done.statistic).all()


def test_a_window_of_three_thousand_substations_takes_less_than_a_tenth_of_a_second():
    rng = np.random.default_rng(1)
    tree = star(3_000, checked=3_000)
    x = rng.uniform(1.0, 5.0, 3_000)
    y = np.concatenate([[1.05 * x.sum(), 0.05 * x.sum()], np.repeat(x, 2)])
    u = 0.013 * y
    y = y + u * rng.standard_normal(len(y))
    began = time.process_time()
    done, _ = serial_elimination(tree, y, u)
    assert time.process_time() - began < 0.1
    assert done.rank >= 2_990
    assert done.chi2 < chi2.ppf(0.999, done.rank)
