"""How long channels usually show one value, learned, and which have shown one for too long."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["LONGER", "MIN_RUNS", "QUANTILE", "FrozenRuns", "Runs", "fold", "frozen_runs", "usual_s"]

QUANTILE: Final = 0.999
"""A run longer than this share of all runs is not usual."""
MIN_RUNS: Final = 1_000
"""Fewer runs than this say nothing of one in a thousand."""
LONGER: Final = 3.0
"""A verdict asks for a run so many times the usual one, which one in a thousand of a sound channel exceeds.

Where runs end by chance, as where noise exceeds the last digit, this leaves one in a thousand million.
"""
MIN_INTERVALS: Final = 3.0
"""And for so many intervals beyond the usual run, which may be one of a single sample."""

_BINS_PER_OCTAVE: Final = 4
_BINS: Final = 128  # 2 ** 31 s: longer than anything
_MOST_RUNS: Final = 1 << 17  # then older runs weigh half, so that a new season is learned
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Runs:
    """What is known of the runs of one value of many channels, numbered from 0.

    Attributes
    ----------
    bins : ndarray of int64, shape (n,)
        Channel × 128 + length, of those that hold ended runs, ascending. Length 0 is up to 1 s, then there
        are four an octave.
    counts : ndarray of int64, shape (n,)
        How many ended runs each holds.
    value : ndarray of float64, shape (channels,)
        Of the run that is under way; NaN where there is none.
    since_ms, until_ms : ndarray of int64, shape (channels,)
        First and newest sample of that run. [ms UTC]
    """

    bins: IntArray
    counts: IntArray
    value: FloatArray
    since_ms: IntArray
    until_ms: IntArray

    @classmethod
    def none(cls, channels: int = 0) -> Runs:
        """Nothing known of so many channels."""
        no = np.empty(0, np.int64)
        zero = np.zeros(channels, np.int64)
        return cls(no, no, np.full(channels, np.nan), zero, zero)

    def grown(self, channels: int) -> Runs:
        """The same, of at least so many channels."""
        more = channels - len(self.value)
        if more <= 0:
            return self
        rest = Runs.none(more)
        return replace(
            self,
            value=np.append(self.value, rest.value),
            since_ms=np.append(self.since_ms, rest.since_ms),
            until_ms=np.append(self.until_ms, rest.until_ms),
        )

    def known(self, channel: IntArray) -> IntArray:
        """How many ended runs are remembered of each channel."""
        low, high = self.between(channel)
        total = np.append(0, np.cumsum(self.counts))
        return np.asarray(total[high] - total[low], dtype=np.int64)

    def between(self, channel: IntArray) -> tuple[IntArray, IntArray]:
        """From where to where `bins` holds those of each channel."""
        edges = np.searchsorted(self.bins, [channel * _BINS, (channel + 1) * _BINS])
        return edges[0], edges[1]


def fold(runs: Runs, channel: IntArray, t_ms: IntArray, value: FloatArray, gap_limit_ms: ArrayLike) -> Runs:
    """Take in the next samples of many channels.

    A run is consecutive equal values, from its first sample to its last; a
    gap ends it, for nobody knows what the channel showed meanwhile. Samples may
    be folded in pieces of any size: the runs are the same, until they are so
    many that the older ones weigh half.

    Parameters
    ----------
    runs : Runs
    channel : ndarray of int64, shape (n,)
        Ascending.
    t_ms : ndarray of int64, shape (n,)
        Ascending within a channel, and after what was folded before. [ms UTC]
    value : ndarray of float64, shape (n,)
        No NaN.
    gap_limit_ms : array_like, shape (n,)
        Samples of a channel further apart belong to different runs. [ms]

    Returns
    -------
    Runs

    Examples
    --------
    >>> t = np.arange(6) * 10_000
    >>> shown = np.array([90.0, 90.0, 90.5, 91.0, 91.0, 91.0])
    >>> runs = fold(Runs.none(), np.zeros(6, np.int64), t, shown, 30_000)
    >>> runs.known(np.array([0])), runs.value, runs.until_ms - runs.since_ms
    (array([2]), array([91.]), array([20000]))
    """
    if not len(channel):
        return runs
    runs = runs.grown(int(channel[-1]) + 1)
    gap_limit_ms = np.broadcast_to(np.asarray(gap_limit_ms, np.float64), channel.shape)
    of_channel = np.append(True, channel[1:] != channel[:-1])
    begins = of_channel.copy()
    begins[1:] |= (value[1:] != value[:-1]) | (np.diff(t_ms) > gap_limit_ms[1:])
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(channel)) - 1
    since, until, mine = t_ms[first], t_ms[last], channel[first]

    head = np.flatnonzero(of_channel[first])
    of = mine[head]
    before = runs.value[of]
    open_until = runs.until_ms[of]
    goes_on = (before == value[first[head]]) & (since[head] - open_until <= gap_limit_ms[first[head]])
    since[head[goes_on]] = runs.since_ms[of[goes_on]]
    over = ~goes_on & ~np.isnan(before)

    tail = np.append(head[1:], len(first)) - 1
    ended = np.ones(len(first), dtype=np.bool_)
    ended[tail] = False
    lengths_s = np.concatenate([(open_until - runs.since_ms[of])[over], (until - since)[ended]]) / 1000.0
    bins, counts = _added(runs, np.concatenate([of[over], mine[ended]]), lengths_s)
    newest, newest_since, newest_until = runs.value.copy(), runs.since_ms.copy(), runs.until_ms.copy()
    newest[of], newest_since[of], newest_until[of] = value[last[tail]], since[tail], until[tail]
    return Runs(bins, counts, newest, newest_since, newest_until)


def _added(runs: Runs, channel: IntArray, length_s: FloatArray) -> tuple[IntArray, IntArray]:
    """Bins and counts with ended runs added; where a channel has very many, all weigh half from then on."""
    if not len(channel):
        return runs.bins, runs.counts
    octaves = np.log2(np.maximum(length_s, 1.0))
    place = np.minimum(np.ceil(_BINS_PER_OCTAVE * octaves - 1e-9), _BINS - 1).astype(np.int64)
    new, times = np.unique(channel * _BINS + place, return_counts=True)
    more: IntArray = np.asarray(times, dtype=np.int64)
    at: IntArray = np.asarray(np.searchsorted(runs.bins, new), dtype=np.int64)
    there: BoolArray = np.append(runs.bins, -1)[at] == new
    counts = runs.counts.copy()
    counts[at[there]] += more[there]
    bins = np.insert(runs.bins, at[~there], new[~there])
    counts = np.insert(counts, at[~there], more[~there])
    owner = bins // _BINS
    starts = np.flatnonzero(np.append(True, owner[1:] != owner[:-1]))
    many = np.add.reduceat(counts, starts) >= _MOST_RUNS
    if many.any():
        counts = np.where(np.repeat(many, np.diff(np.append(starts, len(bins)))), counts // 2, counts)
        bins, counts = bins[counts > 0], counts[counts > 0]
    return bins, counts


def usual_s(runs: Runs, channel: IntArray) -> FloatArray:
    """The learned 99.9 % run of each channel: that share of its runs was no longer. [s]

    NaN while too few are known. The upper edge of its bin, so at most 19 % too long and never
    too short.
    """
    low, high = runs.between(channel)
    total = np.append(0, np.cumsum(runs.counts))
    known = total[high] - total[low]
    wanted = total[low] + np.ceil(QUANTILE * known - 1e-9)
    at = np.searchsorted(total[1:], wanted)
    place = np.append(runs.bins, 0)[np.minimum(at, len(runs.bins))] % _BINS
    return np.where(known >= MIN_RUNS, 2.0 ** (place / _BINS_PER_OCTAVE), np.nan)


@dataclass(frozen=True, slots=True)
class FrozenRuns:
    """Channels that are frozen, with the evidence.

    Attributes
    ----------
    channel : ndarray of int64, shape (n,)
    value : ndarray, shape (n,)
        What each shows.
    since_ms : ndarray of int64, shape (n,)
        Since when. [ms UTC]
    run_s : ndarray, shape (n,)
        For how long. [s]
    usual_s : ndarray, shape (n,)
        The learned 99.9 % run. [s]
    known : ndarray of int64, shape (n,)
        From how many runs.
    """

    channel: IntArray
    value: FloatArray
    since_ms: IntArray
    run_s: FloatArray
    usual_s: FloatArray
    known: IntArray


def frozen_runs(
    runs: Runs, channel: IntArray, interval_ms: FloatArray, gap_limit_ms: FloatArray, from_ms: int, to_ms: int
) -> FrozenRuns:
    """Which of the channels showed one value throughout [from, to), and for longer than they ever do.

    The run is longer than the channel's 99.9 % run by the factor `LONGER` and by three intervals.

    Parameters
    ----------
    runs : Runs
    channel : ndarray of int64, shape (n,)
        Whom to judge.
    interval_ms, gap_limit_ms : ndarray, shape (n,)
        How often each is read, and when a run is over for want of samples. [ms]
    from_ms, to_ms : int
        [ms UTC]

    Examples
    --------
    >>> t = np.arange(2_000) * 10_000
    >>> zero = np.zeros(2_000, np.int64)
    >>> busy = fold(Runs.none(), zero, t, np.tile([50.0, 50.1], 1_000), 30_000)
    >>> limits = (np.array([10_000.0]), np.array([30_000.0]))
    >>> frozen_runs(busy, np.array([0]), *limits, 19_980_000, 20_000_000).channel
    array([], dtype=int64)
    >>> stuck = fold(busy, zero[:4], t[-1] + t[1:5], np.full(4, 50.1), 30_000)
    >>> frozen_runs(stuck, np.array([0]), *limits, 20_000_000, 20_040_000).run_s
    array([40.])
    """
    run_s = (runs.until_ms[channel] - runs.since_ms[channel]) / 1000.0
    under_way = ~np.isnan(runs.value[channel]) & (to_ms - runs.until_ms[channel] <= gap_limit_ms)
    under_way &= runs.since_ms[channel] <= from_ms
    mine = np.flatnonzero(under_way & (run_s >= MIN_INTERVALS * interval_ms / 1000.0))
    usual = usual_s(runs, channel[mine])
    limit_s = np.maximum(LONGER * usual, usual + MIN_INTERVALS * interval_ms[mine] / 1000.0)
    found = run_s[mine] > limit_s
    mine, usual = mine[found], usual[found]
    of = channel[mine]
    return FrozenRuns(of, runs.value[of], runs.since_ms[of], run_s[mine], usual, runs.known(of))
