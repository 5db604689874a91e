"""What `/metrics` serves: one table of metrics, and a registry that reads figures only when it is asked.

The data path counts for itself, once a batch; a scrape takes a copy of those counts. Only durations are
observed where they happen, once an append, a write or a checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client import (
    CollectorRegistry,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

# ruff: noqa: E501  a metric is a line of the table

__all__ = ["METRICS", "Figure", "Metric", "Metrics", "Process", "labelled"]

Process = Literal["server", "ingest", "worker", "alerts"]
# They are a series more for each histogram, which nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]
_DURATIONS_S: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes
    ----------
    name : str
        As it is served, by the conventions of Prometheus: base units, counters end in `_total`.
    kind : {"counter", "gauge", "histogram"}
    labels : tuple of str
    help : str
    where : tuple of Process
        Which processes serve it.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str
    where: tuple[Process, ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """One value of one metric."""

    name: str
    value: float
    labels: tuple[str, ...] = ()


_EVERY: Final[tuple[Process, ...]] = ("server", "ingest", "worker", "alerts")
_ALL: Final[tuple[Process, ...]] = ("server", "ingest", "worker")
_DOOR: Final[tuple[Process, ...]] = ("server", "ingest")
_STREAMS: Final[tuple[Process, ...]] = ("server", "worker")
_SERVER: Final[tuple[Process, ...]] = ("server",)
_DESK: Final[tuple[Process, ...]] = ("server", "alerts")

METRICS: Final = {
    m.name: m
    for m in (
        Metric("hearthline_start_time_seconds", "gauge", (), "When this process started, seconds since 1970 in UTC.", _EVERY),
        Metric("hearthline_ready_seconds", "gauge", (), "From the start until every part was ok for the first time; absent before.", _EVERY),
        Metric("hearthline_component_ok", "gauge", ("component",), "1 while the part is ok, 0 while it starts, is degraded or has failed.", _EVERY),
        Metric("hearthline_received_messages_total", "counter", (), "Messages that the broker delivered.", _DOOR),
        Metric("hearthline_journalled_messages_total", "counter", (), "Messages durable in the journal, refused ones among them.", _DOOR),
        Metric("hearthline_accepted_samples_total", "counter", (), "Samples accepted and durable.", _DOOR),
        Metric("hearthline_accepted_events_total", "counter", (), "Births, states and deaths accepted and durable.", _DOOR),
        Metric("hearthline_refused_messages_total", "counter", ("reason",), "Messages that ingest refused, all kept as dead letters.", _DOOR),
        Metric("hearthline_journal_append_seconds", "histogram", (), "Time of one append to the journal, fsync or replicas included.", _DOOR),
        Metric("hearthline_held_back", "gauge", (), "1 while ingest takes nothing in because the streams are too far behind.", _SERVER),
        Metric("hearthline_lag_messages", "gauge", ("stage",), "Messages that wait for a stage; of the journal's stages, those journalled since the start.", _DOOR),
        Metric("hearthline_lag_records", "gauge", ("stage",), "Records of the journal that wait for a stage.", (*_STREAMS, "alerts")),
        Metric("hearthline_lag_seconds", "gauge", ("stage",), "How long the oldest that waits for a stage has waited.", _ALL),
        Metric("hearthline_queue_messages", "gauge", ("queue",), "Entries in a queue.", _DOOR),
        Metric("hearthline_queue_bytes", "gauge", ("queue",), "Payload bytes in a queue.", _DOOR),
        Metric("hearthline_queue_limit_messages", "gauge", ("queue",), "Most entries that a queue takes.", _DOOR),
        Metric("hearthline_queue_limit_bytes", "gauge", ("queue",), "Most payload bytes that a queue takes.", _DOOR),
        Metric("hearthline_broker_dropped_messages_total", "counter", (), "Messages that the broker inside dropped because too many waited; collectors send them again.", _SERVER),
        Metric("hearthline_stepped_records_total", "counter", (), "Records that the pipelines took in.", _STREAMS),
        Metric("hearthline_stored_rows_total", "counter", ("measurement",), "Rows given to the store, rewritten ones counted again.", _STREAMS),
        Metric("hearthline_dead_letters_total", "counter", ("reason",), "Dead letters given to the store, those found by the pipeline among them.", _STREAMS),
        Metric("hearthline_store_write_seconds", "histogram", (), "Time of one write to the store, failed ones included.", _STREAMS),
        Metric("hearthline_store_failed_writes_total", "counter", (), "Writes that the store did not take; each is tried again.", _STREAMS),
        Metric("hearthline_store_refused_rows_total", "counter", ("measurement",), "Rows that the store refused for good; they are kept as rows of store_refused.", ("worker",)),
        Metric("hearthline_stored_rows", "gauge", ("measurement",), "Rows in the store, those of store_refused among them.", _SERVER),
        Metric("hearthline_open_windows", "gauge", ("measurement",), "Windows whose rows were provisional when they were last written.", _STREAMS),
        Metric("hearthline_stream_now_timestamp_seconds", "gauge", ("stream",), "A stream's now, seconds since 1970 in UTC.", _STREAMS),
        Metric("hearthline_stream_now_age_seconds", "gauge", ("stream",), "How far a stream's now is behind the clock; absent on the data clock.", _STREAMS),
        Metric("hearthline_restating_quarters", "gauge", ("stream",), "Quarters of an hour, of devices and of networks, that wait to be restated; 0 when all that came late is in the results.", _STREAMS),
        Metric("hearthline_leap_left_seconds", "gauge", ("stream",), "How much of a stream's time has windows that are yet to be closed, while its now leaps over many; absent otherwise.", _STREAMS),
        Metric("hearthline_failing_subjects", "gauge", ("stream",), "Devices, networks and other subjects that an operator could not compute in the last two hours; 0 while all can be computed.", _STREAMS),
        Metric("hearthline_checkpoint_age_seconds", "gauge", (), "Since the last checkpoint was kept; absent before the first.", _STREAMS),
        Metric("hearthline_checkpoint_seconds", "histogram", (), "Time of making and keeping one checkpoint.", _STREAMS),
        Metric("hearthline_ledger_messages", "gauge", ("count",), "The ledger's sums over all devices; unaccounted must be 0.", _SERVER),
        Metric("hearthline_conditions_total", "counter", (), "Conditions that workers said and the desk took in.", ("alerts",)),
        Metric("hearthline_open_alarms", "gauge", ("severity",), "Alarms that are not closed.", _DESK),
        Metric("hearthline_unsent_messages", "gauge", (), "Messages of the last week that did not arrive for certain.", _DESK),
    )
}  # fmt: skip
"""Every metric of the project, by name. docs/operation.md has the same table."""


class Metrics:
    """A process's registry.

    Parameters
    ----------
    process : Process
    figures : callable
        Gives the present figures; called for each scrape, on the scraper's thread.
    """

    def __init__(self, process: Process, figures: Callable[[], Iterable[Figure]]) -> None:
        self.process = process
        self._figures = figures
        self._registry = CollectorRegistry()
        self._durations = {
            m.name: Histogram(m.name, m.help, buckets=_DURATIONS_S, registry=self._registry)
            for m in METRICS.values()
            if m.kind == "histogram" and process in m.where
        }
        self._registry.register(_Reading(process, self.figures))
        ProcessCollector(registry=self._registry)

    def figures(self) -> Iterable[Figure]:
        """The present figures."""
        return self._figures()

    def duration(self, name: str) -> Callable[[float], None]:
        """What takes note of a duration of the histogram `name`. [s]"""
        return self._durations[name].observe

    def text(self) -> bytes:
        """Everything in Prometheus' text format, version 0.0.4."""
        return generate_latest(self._registry)


class _Reading(Collector):
    """Turns figures into families when a scrape comes."""

    def __init__(self, process: Process, figures: Callable[[], Iterable[Figure]]) -> None:
        self._process = process
        self._read = figures

    def describe(self) -> Iterable[Family]:
        """Nothing: registering must not read."""
        return ()

    def collect(self) -> Iterator[Family]:
        """Every family that the process serves, without samples where there is nothing to say."""
        families = {m.name: _family(m) for m in METRICS.values() if _gathered(m, self._process)}
        for figure in self._read():
            families[figure.name].add_metric(figure.labels, figure.value)
        yield from families.values()


def _gathered(metric: Metric, process: Process) -> bool:
    return metric.kind != "histogram" and process in metric.where


def _family(metric: Metric) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    return kind(metric.name, metric.help, labels=metric.labels)


def labelled(name: str, values: Mapping[str, float]) -> Iterator[Figure]:
    """Figures of a metric with one label."""
    for label, value in sorted(values.items()):
        yield Figure(name, value, (label,))
