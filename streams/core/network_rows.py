"""What operators over rows are given: a network's window, or one step of time that is settled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.site import Network, Site
from streams.core.network_events import NetworkEvent, NetworkEvents
from streams.core.samples import ClassSamples
from streams.core.stream_site import StreamSite
from streams.core.window_state import FINAL, NONE, PROVISIONAL, UNKNOWN, WindowState

__all__ = ["STEP_MS", "WEATHER", "NetworkRows", "Settled", "Source"]

STEP_MS = 900_000
WEATHER = "weather"
"""Measurement that stations of a network's unit tell for it, though they belong to no network."""
IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
_NO_TIME = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class Source:
    """Rows of one measurement, as far as they are at hand.

    Attributes
    ----------
    fields : tuple of str
    subject : str
        `network` or `device`.
    states : mapping of int to WindowState
        Rows by subject index, by the start of their windows. [ms UTC]
    lengths_ms : ndarray of int64 or None
        Length of the windows by subject index where it is not 15 minutes. [ms]
    learnt : bool
        Whether they are a learner's, of which the newest that is old enough counts.
    model : str
        Of a learner its name and version.
    """

    fields: tuple[str, ...]
    subject: str
    states: Mapping[int, WindowState]
    lengths_ms: IntArray | None = None
    learnt: bool = False
    model: str = ""


@dataclass(frozen=True, slots=True)
class _Block:
    """What is said in a measurement, by step and subject.

    Attributes
    ----------
    values : ndarray, shape (fields + 1, steps, subjects)
        The coverage last.
    status : ndarray of int64, shape (steps, subjects)
    """

    values: FloatArray
    status: IntArray


class NetworkRows:
    """Rows of one network around one window, by steps of 15 minutes.

    Parameters
    ----------
    network : Network
    at : int
        Index of the network among the subjects.
    start_ms, end_ms : int
        The window, [start, end). [ms UTC]
    history_ms : int
        How long before `start_ms` rows begin. [ms]
    devices : ndarray of int64, shape (devices,)
        Index of each of the network's devices that has been heard of, ascending.
    site : StreamSite
    sources : mapping of str to Source
    events : sequence of NetworkEvent
        What people did to the network in the window, for operators that read `office`.

    Attributes
    ----------
    steps_ms : ndarray of int64, shape (steps,)
        Starts of the steps, those of the history first. [ms UTC]
    window : slice
        The steps that lie in the window.
    filling : bool
        Whether what is said of the window now is provisional, for quarters of it are yet to be heard of.
    """

    def __init__(
        self,
        network: Network,
        at: int,
        start_ms: int,
        end_ms: int,
        history_ms: int,
        devices: IntArray,
        site: StreamSite,
        sources: Mapping[str, Source],
        events: Sequence[NetworkEvent] = (),
    ):
        self.network = network
        self.start_ms, self.end_ms = start_ms, end_ms
        self.devices = devices
        self.site = site
        self.events = tuple(events)
        self.steps_ms: IntArray = np.arange(start_ms - history_ms, end_ms, STEP_MS, dtype=np.int64)
        self.window = slice(history_ms // STEP_MS, len(self.steps_ms))
        self.filling = False
        self._at = at
        self._sources = sources
        self._blocks: dict[str, _Block] = {}

    @property
    def registry(self) -> Site:
        """The registry: pipes, devices and all else that is registered."""
        return self.site.site

    @property
    def classes(self) -> NDArray[np.object_]:
        """Class of each device, shape (devices,)."""
        return self.site.classes[self.devices]

    def has(self, measurement: str) -> bool:
        """Whether something writes a measurement that the operator reads if so."""
        return measurement in self._sources

    def __call__(self, measurement: str, field: str) -> FloatArray:
        """Values of a field by step, shape (steps, devices), or (steps,) of a row about the network itself.

        NaN where there is no row, or its value is absent. Of windows longer than a
        step the value stands at their first. `coverage` is a field too.
        """
        source, block = self._sources[measurement], self._block(measurement)
        place = len(source.fields) if field == "coverage" else source.fields.index(field)
        values = block.values[place]
        return np.array(values if source.subject == "device" else values[:, 0])

    def _block(self, measurement: str) -> _Block:
        """All that is said in a measurement, read once for whoever asks for some of it."""
        block = self._blocks.get(measurement)
        if block is None:
            source = self._sources[measurement]
            subjects = self.devices if source.subject == "device" else np.array([self._at])
            block = self._blocks[measurement] = self._read(source, subjects)
        return block

    def _read(self, source: Source, subjects: IntArray) -> _Block:
        shape = len(self.steps_ms), len(subjects)
        values, status = (
            np.full((len(source.fields) + 1, *shape), np.nan),
            np.full(shape, NONE, dtype=np.int64),
        )
        for step, start in enumerate(self.steps_ms.tolist()):
            state = source.states.get(start)
            if state is not None:
                state.read(subjects, values[:, step], status[step])
        return _Block(values, status)

    def outdoor_c(self) -> FloatArray:
        """Outdoor temperature by step: the mean of the weather stations, else of the plants; NaN without any.

        Of operators that read `weather`.
        """
        source = self._sources[WEATHER]
        out = np.full(len(self.steps_ms), np.nan)
        plants = self.devices[self.classes == "plant"]
        place = source.fields.index("outdoor_c")
        for subjects in (self.site.stations(self.network), plants):
            values = self._read(source, subjects).values[place]
            some = np.isnan(out) & ~np.isnan(values).all(axis=1)
            out[some] = np.nanmean(values[some], axis=1)
        return out

    def model(self, measurement: str) -> str:
        """Name and version of a learner whose rows are read."""
        return self._sources[measurement].model

    def status(self, measurement: str) -> IntArray:
        """Status by step, of shapes as of the values; see `streams.core.window_state.STATUS_NAMES`."""
        status = self._block(measurement).status
        return (status if self._sources[measurement].subject == "device" else status[:, 0]).copy()

    def learnt(self, measurement: str, field: str, *, newest_ms: int | None = None) -> FloatArray:
        """A field of the newest learnt row that had ended a day before the window, by subject.

        Shape (devices,), or () of a row about the network itself; NaN where there is none.
        """
        source = self._sources[measurement]
        subjects = self.devices if source.subject == "device" else np.array([self._at])
        out = np.full(len(subjects), np.nan)
        bound = self.start_ms if newest_ms is None else newest_ms
        for start in sorted(s for s in source.states if s <= bound):
            state = source.states[start]
            there = state.status_of(subjects) != NONE
            out = np.where(there, state.values_of(field, source.fields, subjects), out)
        return out if source.subject == "device" else out[0]

    @property
    def open(self) -> bool:
        """Whether a row in the window is provisional, or one of a weather station that is read."""
        if WEATHER in self._sources:
            stations = self.site.stations(self.network)
            for start in self.steps_ms[self.window].tolist():
                state = self._sources[WEATHER].states.get(start)
                if state is not None and (state.status_of(stations) == PROVISIONAL).any():
                    return True
        return any(
            bool((self.status(name)[self.window] == PROVISIONAL).any())
            for name, source in self._sources.items()
            if not source.learnt
        )


@dataclass(frozen=True, slots=True)
class Settled:
    """One step of 15 minutes whose samples and rows are settled, for learners.

    Attributes
    ----------
    start_ms, end_ms : int
        [ms UTC]
    site : StreamSite
    stream : str
    networks : sequence of str
        Networks by subject index.
    events : NetworkEvents
        What people did to networks, as far as it has been entered by now, late or not.
    samples : mapping of str to ClassSamples
        By the device classes that the learner asks for the samples of the step, sorted by
        (device, t), repeats removed, without neighbours; only those of devices that the registry has here.
    late : mapping of str to ClassSamples
        The same of samples of before that came since the last step, where the learner asks for them.
    """

    start_ms: int
    end_ms: int
    site: StreamSite
    stream: str
    networks: Sequence[str]
    _sources: Mapping[str, Source]
    events: NetworkEvents = field(default_factory=NetworkEvents)
    samples: Mapping[str, ClassSamples] = field(default_factory=dict)
    late: Mapping[str, ClassSamples] = field(default_factory=dict)
    _endings: dict[str, list[tuple[WindowState, IntArray]]] = field(default_factory=dict)
    """Found once by measurement, for all learners of a step."""

    def subjects(self, measurement: str) -> IntArray:
        """Index of each device or network that has a settled row whose window ends with this step."""
        found = [subjects for _, subjects in self._ending(measurement)]
        return np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)

    def __call__(self, measurement: str, field: str) -> FloatArray:
        """Values of a field, one a subject of `subjects`; NaN where absent."""
        source = self._sources[measurement]
        subjects = self.subjects(measurement)
        out = np.full(len(subjects), np.nan)
        for state, mine in self._ending(measurement):
            out[np.searchsorted(subjects, mine)] = state.values_of(field, source.fields, mine)
        return out

    def final(self, measurement: str) -> NDArray[np.bool_]:
        """Whether each row is final, not unknown, shape as of `subjects`."""
        subjects = self.subjects(measurement)
        out = np.zeros(len(subjects), dtype=bool)
        for state, mine in self._ending(measurement):
            out[np.searchsorted(subjects, mine)] = state.status_of(mine) == FINAL
        return out

    def _ending(self, measurement: str) -> list[tuple[WindowState, IntArray]]:
        """Windows that end with this step, and whose rows they have."""
        known = self._endings.get(measurement)
        if known is None:
            known = self._endings[measurement] = self._find_ending(self._sources[measurement])
        return known

    def _find_ending(self, source: Source) -> list[tuple[WindowState, IntArray]]:
        longest = STEP_MS if source.lengths_ms is None else int(source.lengths_ms.max(initial=STEP_MS))
        starts = (s for s in range(self.end_ms - longest, self.end_ms, STEP_MS) if s in source.states)
        found = [(source.states[s], self._ended(source, s, source.states[s])) for s in starts]
        return [(state, subjects) for state, subjects in found if len(subjects)]

    def _ended(self, source: Source, start_ms: int, state: WindowState) -> IntArray:
        """Subjects whose window began at `start_ms` and ends with this step."""
        subjects = np.arange(len(state))
        length = (
            STEP_MS
            if source.lengths_ms is None
            else np.append(source.lengths_ms, _NO_TIME)[np.minimum(subjects, len(source.lengths_ms))]
        )
        status = state.status_of(subjects)
        settled = (status == FINAL) | (status == UNKNOWN)
        return np.asarray(subjects[settled & (start_ms + length == self.end_ms)], dtype=np.int64)
