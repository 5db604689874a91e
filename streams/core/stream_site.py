"""The registry as one stream's operators see it: columns by device index."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.site import Device, Network, Site

if TYPE_CHECKING:
    from streams.core.site_history import SiteHistory

__all__ = ["Meters", "StreamSite"]

FloatArray = NDArray[np.float64]
BORN_MOST_S = 3600.0
"""The longest interval for which a birth alone keeps windows open; the registry may name a longer one. [s]"""
_COLUMNS = ("names", "owned", "classes", "units", "regions", "lateness_ms", "networks")


@dataclass(frozen=True, slots=True)
class Meters:
    """Attributes of devices as arrays of one element a device; NaN is unknown.

    Attributes
    ----------
    on_supply : ndarray of bool
        Whether the flow meter sits on the supply pipe.
    mounting_known : ndarray of bool
        Whether the registry says on which pipe it sits.
    interval_ms, qp_m3_h, dt_min_k, accuracy_class : ndarray of float64
    energy_full_scale_gj, volume_full_scale_m3 : ndarray of float64
    energy_resolution_gj : ndarray of float64
        Least step of the counter of heat. [GJ]
    return_ref_c : ndarray of float64
        Reference return temperature of the device's network. [°C]
    """

    on_supply: NDArray[np.bool_]
    mounting_known: NDArray[np.bool_]
    interval_ms: FloatArray
    qp_m3_h: FloatArray
    dt_min_k: FloatArray
    accuracy_class: FloatArray
    energy_full_scale_gj: FloatArray
    volume_full_scale_m3: FloatArray
    energy_resolution_gj: FloatArray
    return_ref_c: FloatArray

    def __getitem__(self, index: NDArray[np.int64]) -> Meters:
        return Meters(*(getattr(self, name)[index] for name in self.__slots__))

    def followed_by(self, others: Meters) -> Meters:
        """These devices and then `others`."""
        return Meters(*(np.append(getattr(self, n), getattr(others, n)) for n in self.__slots__))

    def with_those(self, others: Meters, which: NDArray[np.bool_]) -> Meters:
        """These devices, but `which` of them as in `others`."""
        return Meters(*(np.where(which, getattr(others, n), getattr(self, n)) for n in self.__slots__))


class StreamSite:
    """Devices of one stream in a fixed order, with their attributes.

    Parameters
    ----------
    site : Site
    ids : sequence of str
        Device ids; a device's index is its place here.
    born_interval_s : mapping of str to float
        Intervals that devices announced at birth, used where the registry has none. [s]
    stream : str, optional
        The stream whose devices these are; without it every registered device is its own.
    before : StreamSite, optional
        What it was before the last of `ids` were met, of the same site, intervals and stream: then only these
        are looked up.

    Attributes
    ----------
    names : ndarray of object (str)
        The ids.
    owned : ndarray of bool
        Whether the registry has the device, in this stream: one that was removed or moved has no rows here.
    classes : ndarray of object (str)
        Device class by the registry, empty where it does not have the device.
    networks : ndarray of object (str)
        Network by the registry, empty where there is none.
    lateness_ms : ndarray of int64
        How long after its end a device's window stays open. [ms]
    history : SiteHistory or None
        The registries that the stream had before, if it had any.
    """

    history: SiteHistory | None = None

    def __init__(
        self,
        site: Site,
        ids: Sequence[str],
        born_interval_s: Mapping[str, float],
        stream: str | None = None,
        before: StreamSite | None = None,
    ):
        self.site = site
        self.ids = tuple(ids)
        met = ids if before is None else ids[len(before.ids) :]
        devices = [site.devices.get(i) for i in met]
        of = list(zip(met, devices, strict=True))
        self.names = np.array(met, dtype=object)
        self.owned = np.array([d is not None and stream in {None, d.stream} for d in devices], dtype=bool)
        self.classes = np.array([d.device_class if d else "" for d in devices], dtype=object)
        self.units = np.array([d.unit if d else "" for d in devices], dtype=object)
        self.regions = np.array([site.region_of(d) if d else "" for d in devices], dtype=object)
        self.lateness_ms = np.array(
            [_lateness_ms(site, d, born_interval_s.get(i)) for i, d in of], dtype=np.int64
        )
        interval_s = [(d.interval_s if d else None) or born_interval_s.get(i) for i, d in of]
        self.networks = np.array([(d.network or "") if d else "" for d in devices], dtype=object)
        networks = [site.networks.get(d.network or "") if d else None for d in devices]
        self.meters = Meters(
            on_supply=np.array([d is not None and _on_supply(d) for d in devices], dtype=bool),
            mounting_known=np.array([d is not None and d.mounting is not None for d in devices], dtype=bool),
            interval_ms=_column([None if s is None else 1000 * s for s in interval_s]),
            qp_m3_h=_column([d.qp_m3_h if d else None for d in devices]),
            dt_min_k=_column([d.dt_min_k if d else None for d in devices]),
            accuracy_class=_column([d.accuracy_class if d else None for d in devices]),
            energy_full_scale_gj=_column([d.energy_full_scale_gj if d else None for d in devices]),
            volume_full_scale_m3=_column([d.volume_full_scale_m3 if d else None for d in devices]),
            energy_resolution_gj=_column([d.energy_resolution_gj if d else None for d in devices]),
            return_ref_c=_column([n.return_ref_c if n else None for n in networks]),
        )
        self._longest_ms: dict[str, int]
        self._registered_ms: dict[str, int]
        if before is not None:
            self._come_after(before)
            return
        self._longest_ms = _longest_lateness_ms(site, born_interval_s, stream)
        self._registered_ms = _longest_lateness_ms(site, {}, stream) if born_interval_s else self._longest_ms

    def _come_after(self, before: StreamSite) -> None:
        """Put what is known of the devices `before` before that of those met since."""
        self._longest_ms, self._registered_ms = before._longest_ms, before._registered_ms
        for name in _COLUMNS:
            setattr(self, name, np.append(getattr(before, name), getattr(self, name)))
        self.meters = before.meters.followed_by(self.meters)

    def over(self, end_ms: int) -> StreamSite:
        """The site by which windows of devices go that end at `end_ms` (ms UTC): of when they were due."""
        if self.history is None or not self.history.reaches(end_ms):
            return self
        return self.history.over(end_ms, self)

    def since(self, from_ms: int, to_ms: int | None = None) -> Iterator[tuple[int | None, StreamSite]]:
        """Registries by which windows may go that end from `from_ms` on (to `to_ms`), the oldest first.

        Each with until when it held, None of this one. [ms UTC]
        """
        if self.history is None or not self.history.reaches(from_ms):
            return iter(((None, self),))
        return self.history.since(from_ms, to_ms, self)

    def as_of(self, other: StreamSite, which: NDArray[np.bool_]) -> StreamSite:
        """The same site, but what is registered of `which` devices (by index) as in `other`.

        Who is in the stream and in what class stays as it is: so does whoever asks for samples.
        """
        mixed = copy(self)
        for name in ("units", "regions", "lateness_ms", "networks"):
            setattr(mixed, name, np.where(which, getattr(other, name), getattr(self, name)))
        mixed.meters = self.meters.with_those(other.meters, which)
        mixed.history = None
        return mixed

    def longest_lateness_ms(self, classes: Collection[str]) -> int:
        """The longest lateness of the registered devices of `classes`, the site's where there are none.

        Of those not met too, so that what is kept does not hang on who has spoken yet. [ms]
        """
        longest = [ms for name, ms in self._longest_ms.items() if name in classes]
        return max(longest, default=1000 * self.site.lateness_s)

    def registered_lateness_ms(self, device_class: str) -> int:
        """The longest lateness of a class by the registry alone, the site's where it has none. [ms]"""
        return self._registered_ms.get(device_class, 1000 * self.site.lateness_s)

    @property
    def longest_of_all_ms(self) -> int:
        """The longest lateness of any registered device, at least the site's. [ms]"""
        return max([1000 * self.site.lateness_s, *self._longest_ms.values()])

    def stations(self, network: Network) -> NDArray[np.int64]:
        """Weather devices of a network, else those of its unit that belong to no network."""
        weather = self.owned & (self.classes == "weather")
        own = np.flatnonzero(weather & (self.networks == network.id))
        return own if len(own) else np.flatnonzero(weather & self._lone(network.unit))

    def concerned(self, devices: NDArray[np.int64]) -> set[str]:
        """Networks that rows of `devices` concern: their own; of a lone weather station those of its unit."""
        names = {n for n in self.networks[devices].tolist() if n}
        lone = (self.classes[devices] == "weather") & (self.networks[devices] == "")
        units = set(self.units[devices[lone]].tolist())
        if units:
            here = set(self.networks[self.owned].tolist())
            names |= {n.id for n in self.site.networks.values() if n.unit in units and n.id in here}
        return names

    def _lone(self, unit: str) -> NDArray[np.bool_]:
        return np.asarray((self.networks == "") & (self.units == unit), dtype=bool)


def _longest_lateness_ms(
    site: Site, born_interval_s: Mapping[str, float], stream: str | None
) -> dict[str, int]:
    longest: dict[str, int] = {}
    for device in site.devices.values():
        if stream in {None, device.stream}:
            ms = _lateness_ms(site, device, born_interval_s.get(device.device))
            longest[device.device_class] = max(ms, longest.get(device.device_class, ms))
    return longest


def _column(values: Sequence[float | None]) -> FloatArray:
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def _on_supply(device: Device) -> bool:
    return device.mounting == "supply"


def _lateness_ms(site: Site, device: Device | None, born_interval_s: float | None) -> int:
    if device is None:
        return 1000 * site.lateness_s
    lateness_ms = site.lateness_of_ms(device)
    if device.interval_s is None and born_interval_s is not None:
        # The whole stream's samples stay in memory for the longest lateness: none may claim a week of it.
        lateness_ms = max(lateness_ms, int(1500 * min(born_interval_s, BORN_MOST_S)))
    return lateness_ms
