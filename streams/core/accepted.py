"""Accepted samples of one record, as sample operators see them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["Accepted"]


@dataclass(frozen=True, slots=True)
class Accepted:
    """Samples of one device class of one record.

    Attributes
    ----------
    batch : pyarrow.RecordBatch
        Columns of `models.frame.telemetry_schema`, some of its measurements.
    device_class, stream : str
    offset : int
        Of the record in the journal.
    received_ms : int
        Timestamp of the record. [ms UTC]
    unit, region : pyarrow.Array of string, shape (n,)
        Where each sample's device lies.
    quality : pyarrow.Array of string, shape (n,)
        Flags joined by ``;``; null where there are none.
    replaces, late : ndarray of bool, shape (n,)
        See `models.results.Outputs.readings`.
    """

    batch: pa.RecordBatch
    device_class: str
    stream: str
    offset: int
    received_ms: int
    unit: pa.Array
    region: pa.Array
    quality: pa.Array
    replaces: NDArray[np.bool_]
    late: NDArray[np.bool_]

    def of(self, places: NDArray[np.int64]) -> Accepted:
        """Those of its samples alone."""
        at = pa.array(places)
        return replace(
            self, batch=self.batch.take(at), unit=self.unit.take(at), region=self.region.take(at),
            quality=self.quality.take(at), replaces=self.replaces[places], late=self.late[places],
        )  # fmt: skip
