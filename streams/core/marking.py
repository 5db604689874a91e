"""When marks are made of samples: before these are let go, and whenever they changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.restate import RestateAnswer
from streams.core.buffer import ClassBuffer, standing
from streams.core.containing import FAILED, Failures, contained
from streams.core.declared import expect_kept
from streams.core.entity import Item
from streams.core.entity_items import ItemStore, Name
from streams.core.entity_operator import MarkOperator, Marks
from streams.core.following import Following
from streams.core.restated import answer_buffers
from streams.core.rows import Rows, concat
from streams.core.samples import ClassSamples, Samples, window_rows
from streams.core.stream_site import StreamSite

__all__ = ["Marking"]

_NO_TIME: Final = int(np.iinfo(np.int64).max)
_Wanted = tuple[int, MarkOperator, NDArray[np.bool_]]
"""Start of a window (ms UTC), whose marks of it, and of which devices."""
_Window = tuple[int, int, tuple[str, ...]]
"""Its start (ms UTC), how long it is (s), and the classes whose samples it has."""
Put = Callable[[Name, Item | None, str], None]
"""Takes the new item of a name of a source, None where it is no more."""


class Marking:
    """Mark operators of one stream over its open samples.

    Parameters
    ----------
    operators : sequence of MarkOperator
    items : ItemStore
        Where marks are kept, each by device, window and place among them.
    put : callable
        Called with each mark that changed.
    failures : Failures
        Takes note of what cannot be marked.
    """

    def __init__(self, operators: Sequence[MarkOperator], items: ItemStore, put: Put, failures: Failures):
        self._failures = failures
        self.operators = tuple(operators)
        self._dirty: NDArray[np.int64] = np.empty(0, np.int64)
        self._came: dict[str, list[Rows]] = {}
        self._following: dict[_Window, Following] = {}
        self._items = items
        self._put = put

    @property
    def reads(self) -> frozenset[str]:
        """Device classes whose samples are looked at."""
        return frozenset(name for o in self.operators for name in o.reads)

    @property
    def dirty_from_ms(self) -> int | None:
        """From when on samples changed that no mark was made of. [ms UTC]"""
        oldest = int(self._dirty.min(initial=_NO_TIME))
        return None if oldest == _NO_TIME else oldest

    def touch(self, device: NDArray[np.int64], from_ms: NDArray[np.int64] | int) -> None:
        """Note that samples of devices changed, of each from then on. [ms UTC]"""
        if self.operators and len(device):
            self._know(int(device.max()) + 1)
            np.minimum.at(self._dirty, device, from_ms)

    def take(self, device_class: str, rows: Rows) -> None:
        """Note samples of windows at hand, in any order."""
        if device_class in self.reads:
            self.touch(rows.device, rows.t)
            self._came.setdefault(device_class, []).append(rows)

    def _know(self, devices: int) -> None:
        lacking = devices - len(self._dirty)
        if lacking > 0:
            self._dirty = np.append(self._dirty, np.full(lacking, _NO_TIME))

    def update(
        self, kept_from_ms: int, newest_ms: int, site: StreamSite, buffers: Mapping[str, ClassBuffer]
    ) -> None:
        """Make the marks of all windows at hand whose samples changed, of the devices of which they did."""
        dirty_from_ms = self.dirty_from_ms
        if dirty_from_ms is None:
            return
        self._know(len(site.ids))
        for key in [k for k in self._following if k[0] < kept_from_ms]:
            del self._following[key]
        wanted: list[_Wanted] = []
        for operator in self.operators:
            every_ms = 1000 * operator.every_s
            first = max(dirty_from_ms, kept_from_ms) // every_ms * every_ms
            newest = [b.starts[-1] for n, b in buffers.items() if n in operator.reads and b.starts]
            for start in range(first, min(newest_ms, max(newest, default=first - 1)) + 1, every_ms):
                changed = self._dirty[: len(site.ids)] < start + every_ms
                wanted.append((start, operator, site.owned & changed))
        self._make_further(wanted, site, buffers)
        self._dirty.fill(_NO_TIME)
        self._came.clear()

    def _make_further(
        self, wanted: Sequence[_Wanted], site: StreamSite, buffers: Mapping[str, ClassBuffer]
    ) -> None:
        """Make the marks of windows at hand: of devices that went on only those of what came since."""
        dirty = self._dirty[: len(site.ids)]
        whole: list[_Wanted] = []
        later: dict[_Window, tuple[NDArray[np.bool_], list[MarkOperator]]] = {}
        for start, operator, changed in wanted:
            if operator.grows and len(operator.reads) == 1:
                key = (start, operator.every_s, operator.reads)
                following = self._following.setdefault(key, Following())
                following.know(len(site.ids))
                goes_on = changed & (dirty > following.until_ms)
                later.setdefault(key, (goes_on, []))[1].append(operator)
                changed = changed & ~goes_on  # noqa: PLW2901
            whole.append((start, operator, changed))
        self._make(whole, site, buffers, self._following)
        for (start, every_s, reads), (goes_on, operators) in sorted(later.items(), key=lambda each: each[0]):
            end, columns = start + 1000 * every_s, buffers[reads[0]].columns
            came = concat(self._came.get(reads[0], []), len(columns))
            mine = came.take(goes_on[came.device] & (came.t >= start) & (came.t < end))
            if mine.n:
                following = self._following[start, every_s, reads]
                samples = following.go_on(start, end, columns, standing(mine, start))
                for operator in operators:
                    self._mark(operator, start, site, samples, further=True)

    def at_once(
        self, buffer: ClassBuffer, rows: Rows, kept_from_ms: int, site: StreamSite, ready: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Make the marks of samples that come late, but in the order of their device, as in a bundle.

        A mark rests on its window's samples and those before: where a device sends only what is newer than
        all that it sent, these are at hand, however late it is.

        Parameters
        ----------
        buffer : ClassBuffer
            What is at hand of their class, without them.
        rows : Rows
            Samples before `kept_from_ms`.
        kept_from_ms : int
            Samples from this time on are at hand. [ms UTC]
        site : StreamSite
        ready : ndarray of bool, shape (devices,)
            Devices of which nobody else knows more, or is about to say something.

        Returns
        -------
        ndarray of bool, shape (n,)
            For which of `rows` that was enough. In a window that began before them, and whose other samples
            are not at hand, it is not.
        """
        operators = [o for o in self.operators if buffer.device_class in o.reads]
        known = len(site.ids)
        newest = buffer.newest_t(known)
        oldest = np.full(known, _NO_TIME)
        np.minimum.at(oldest, rows.device, rows.t)
        before = buffer.before(kept_from_ms)
        follows = ready & (oldest > newest)
        mine = follows[rows.device]
        longest_ms = max(1000 * o.every_s for o in operators)
        enough = mine & (rows.t // longest_ms > newest[rows.device] // longest_ms)
        if not enough.any():
            return enough
        bundle = ClassBuffer(buffer.device_class)
        bundle.carry_on(before.take(follows[before.device]), known)
        bundle.add(rows.take(mine), known)
        done, wanted = rows.take(enough), list[_Wanted]()
        for operator in operators:
            every_ms = 1000 * operator.every_s
            starts = done.t // every_ms * every_ms
            for start in np.unique(starts).tolist():
                speaks = np.zeros(known, dtype=bool)
                speaks[done.device[starts == start]] = True
                wanted.append((start, operator, speaks & site.owned))
        self._make(wanted, site, {bundle.device_class: bundle})
        return enough

    def again(self, answer: RestateAnswer, index: Mapping[str, int], site: StreamSite) -> None:
        """Make the marks of windows that changed after their samples were let go."""
        buffers = answer_buffers(answer, index, len(site.ids))
        all_wanted: list[_Wanted] = []
        for operator in self.operators:
            every_ms = 1000 * operator.every_s
            wanted: dict[int, NDArray[np.bool_]] = {}
            for span in answer.windows:
                if span.device_class in operator.reads:
                    for start in range(span.from_ms // every_ms * every_ms, span.to_ms, every_ms):
                        mask = wanted.setdefault(start, np.zeros(len(site.ids), dtype=bool))
                        mask[index[span.device]] = True
            all_wanted += [(start, operator, mask & site.owned) for start, mask in wanted.items()]
        self._make(all_wanted, site, buffers)

    def _make(
        self,
        wanted: Sequence[_Wanted],
        site: StreamSite,
        buffers: Mapping[str, ClassBuffer],
        following: Mapping[_Window, Following] = MappingProxyType({}),
    ) -> None:
        """Make the marks of windows; operators that want the same samples of one share them."""
        shared: tuple[tuple[object, ...], Samples | None] = ((), None)
        for start_ms, operator, devices in sorted(wanted, key=lambda each: each[0]):
            window = (start_ms, operator.every_s, operator.reads)
            what = (window, devices.tobytes())
            if shared[0] != what:
                shared = (what, self._samples(operator, start_ms, site, buffers, devices))
                if shared[1] is not None and window in following:
                    following[window].begin(shared[1])
            if shared[1] is not None:
                self._mark(operator, start_ms, site, shared[1])

    @staticmethod
    def _samples(
        operator: MarkOperator,
        start_ms: int,
        site: StreamSite,
        buffers: Mapping[str, ClassBuffer],
        wanted: NDArray[np.bool_],
    ) -> Samples | None:
        """Samples of a window of those that speak in it, and before; None where nobody does."""
        if not wanted.any():
            return None
        end_ms = start_ms + 1000 * operator.every_s
        classes = []
        for name, buffer in sorted(buffers.items()):
            if name in operator.reads:
                inside, none = buffer.inside(start_ms, end_ms, wanted), Rows.none(len(buffer.columns))
                speaks = np.zeros(len(wanted), dtype=bool)
                speaks[inside.device] = True
                speaks &= site.classes == name
                rows = window_rows(buffer.before(start_ms), inside, none, buffer.columns, speaks)
                classes.append(ClassSamples(buffer.columns, rows))
        samples = Samples(start_ms, end_ms, classes)
        return samples if len(samples.devices) else None

    def _mark(
        self,
        operator: MarkOperator,
        start_ms: int,
        site: StreamSite,
        samples: Samples,
        *,
        further: bool = False,
    ) -> None:
        """Keep an operator's marks of a window; `further` where they are only those of later samples.

        Of a device that it cannot compute the window has one that says so.
        """
        devices = samples.devices

        def failed(error: Exception) -> None:
            if len(devices) > 1:
                for half in (devices[: len(devices) // 2], devices[len(devices) // 2 :]):
                    self._mark(operator, start_ms, site, samples.of(half), further=further)
                return
            name = site.ids[int(devices[0])]
            self._failures.note(operator.name, name, error)
            end_ms = start_ms + 1000 * operator.every_s
            lacks = Item(operator.name, name, start_ms, {"to_ms": end_ms}, (FAILED,))
            self._replace(operator.name, name, start_ms, (lacks,), 0)
            # What comes next is marked with all of the window, as after a start, which follows nothing.
            for (start, _, reads), following in self._following.items():
                if start == start_ms and reads == operator.reads:
                    following.until_ms[devices] = _NO_TIME

        marks = contained(lambda: _by_device(operator.function(samples, site)), failed)
        if marks is None:
            return
        adds = further and operator.grows == "more"
        there = self._items.names(operator.name)
        for device in list(marks) if adds else samples.devices.tolist():
            name = site.ids[device]
            if device not in marks and (name, start_ms, 0) not in there:
                continue
            begin = self._count(operator.name, name, start_ms) if adds else 0
            mine = enumerate(marks.get(device, ()))
            items = [Item(operator.name, name, t, values, pos=begin + n) for n, (t, values) in mine]
            self._replace(operator.name, name, start_ms, items, begin)

    def _count(self, source: str, device: str, start_ms: int) -> int:
        """How many marks of a window there are."""
        return next(n for n in count() if self._items.get(source, (device, start_ms, n)) is None)

    def _replace(self, source: str, device: str, start_ms: int, made: Sequence[Item], begin: int) -> None:
        """Keep `made` in place of a window's marks from `begin` on."""
        for at in count(begin):
            name = (device, start_ms, at)
            before = self._items.get(source, name)
            now = made[at - begin] if at - begin < len(made) else None
            if before is None and now is None:
                return
            if before is None or now is None or (before.t, before.values) != (now.t, now.values):
                self._put(name, now, source)


def _by_device(marks: Marks) -> dict[int, list[tuple[int, dict[str, Any]]]]:
    """Time (ms UTC) and values of each device's marks; ValueError where they are not as declared."""
    columns = {name: _listed(column) for name, column in marks.values.items()}
    expect_kept(columns, len(marks.device))
    made: dict[int, list[tuple[int, dict[str, Any]]]] = {}
    for at, (device, t) in enumerate(zip(marks.device.tolist(), marks.t.tolist(), strict=True)):
        if type(t) is not int:
            raise TypeError(f"expected the time of a mark in whole ms, got {t!r:.60}")
        values = {name: column[at] for name, column in columns.items() if column[at] is not None}
        made.setdefault(device, []).append((t, values))
    return made


def _listed(column: Any) -> list[Any]:
    listed = column.tolist() if hasattr(column, "tolist") else list(column)
    return [None if isinstance(v, float) and v != v else v for v in listed]  # noqa: PLR0124  NaN
