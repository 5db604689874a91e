"""The registry: what a site consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = [
    "Contract", "Device", "FulfilmentRule", "Network", "Pipe", "Place", "Region", "Site", "Unit", "Vehicle",
]  # fmt: skip

Mounting = Literal["supply", "return"]


@dataclass(frozen=True, slots=True)
class Region:
    """A region of the group."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Unit:
    """A base unit: one heating company or plant with its yard."""

    id: str
    region: str
    name: str
    min_stock_t: float | None = None


@dataclass(frozen=True, slots=True)
class Network:
    """A closed network of supply and return pipes."""

    id: str
    unit: str
    name: str
    volume_m3: float | None = None
    window_s: int = 3600
    lateness_s: int | None = None
    ground_c: float | None = None
    return_ref_c: float | None = None
    makeup_limit_pct: float | None = None
    makeup_c: float | None = None
    design_c: float | None = None
    season_c: float | None = None
    season_days: float | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """One device of the fleet; None is unknown."""

    device: str
    device_class: str
    unit: str
    stream: str
    network: str | None = None
    name: str = ""
    lat_deg: float | None = None
    lon_deg: float | None = None
    node: str | None = None
    area_m2: float | None = None
    qp_m3_h: float | None = None
    accuracy_class: int | None = None
    dt_min_k: float | None = None
    mounting: Mounting | None = None
    interval_s: float | None = None
    energy_full_scale_gj: float | None = None
    volume_full_scale_m3: float | None = None
    energy_resolution_gj: float | None = None
    place: str | None = None


@dataclass(frozen=True, slots=True)
class Pipe:
    """A pair of supply and return pipe between two nodes."""

    pipe: str
    network: str
    from_node: str
    to_node: str
    length_m: float
    inner_diameter_m: float
    u_w_m_k: float | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A circle on the map that trucks enter and leave."""

    place: str
    unit: str | None
    kind: Literal["mine", "plant", "yard", "station"]
    name: str
    lat_deg: float
    lon_deg: float
    radius_m: float


@dataclass(frozen=True, slots=True)
class Contract:
    """A monthly coal contract."""

    contract: str
    seller: str
    buyer: str
    unit: str
    origin: str
    destination: str
    grade: str
    month: str
    planned_t: float
    price_cny_t: float | None
    q_ref_mj_kg: float | None
    stream: str
    freight_cny_t: float | None = None


@dataclass(frozen=True, slots=True)
class FulfilmentRule:
    """When contracts of a period count as fulfilled, and from when one is warned.

    Attributes
    ----------
    period : str
        "month", "quarter" or "year".
    least_pct : float
        Share of the plan that has to be received. [%]
    warn_p : float
        Probability of less, above which one is warned; 0 to 1.
    """

    period: str
    least_pct: float
    warn_p: float = 0.2


@dataclass(frozen=True, slots=True)
class Vehicle:
    """A truck as registered."""

    plate: str
    device: str | None
    tag: str | None
    tare_kg: float | None
    rated_kg: float | None


@dataclass(frozen=True, slots=True)
class Site:
    """Everything registered, at one version.

    Attributes
    ----------
    texts : mapping of str to str
        The files it was read from, by name: a registry frame carries these.
    plates : mapping of str to str
        Plate by the device that a vehicle carries.
    tags : mapping of str to str
        Plate by a vehicle's tag.
    streams : tuple of str
        Every stream that a device belongs to, sorted.
    """

    id: str
    name: str
    timezone: str
    lateness_s: int = 900
    retention_days: int = 400
    regions: Mapping[str, Region] = field(default_factory=dict)
    units: Mapping[str, Unit] = field(default_factory=dict)
    networks: Mapping[str, Network] = field(default_factory=dict)
    devices: Mapping[str, Device] = field(default_factory=dict)
    pipes: Mapping[str, Pipe] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)
    contracts: Mapping[str, Contract] = field(default_factory=dict)
    vehicles: Mapping[str, Vehicle] = field(default_factory=dict)
    rules: Mapping[str, FulfilmentRule] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    plates: Mapping[str, str] = field(init=False, repr=False, compare=False)
    tags: Mapping[str, str] = field(init=False, repr=False, compare=False)
    streams: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _of_plants: Mapping[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        carried = {v.device: plate for plate, v in self.vehicles.items() if v.device}
        object.__setattr__(self, "plates", carried)
        object.__setattr__(self, "tags", {v.tag: plate for plate, v in self.vehicles.items() if v.tag})
        object.__setattr__(self, "streams", tuple(sorted({d.stream for d in self.devices.values()})))
        # Asked for each row of each trip, so that thousands of trucks are not looked through each time.
        plants = sorted((d.stream, d.unit) for d in self.devices.values() if d.device_class == "plant")
        of_plants = {unit: stream for stream, unit in reversed(plants)}
        own = {unit: unit for stream, unit in plants if stream == unit}
        object.__setattr__(self, "_of_plants", of_plants | own)

    def region_of(self, device: Device) -> str:
        """Region that `device` lies in."""
        return self.units[device.unit].region

    def stream_of_unit(self, unit: str) -> str:
        """The stream in which a unit's plants are, its own before others; empty where it has none.

        Of a unit without plants that of its own, if there is one.
        """
        return self._of_plants.get(unit) or (unit if unit in self.streams else "")

    def lateness_of_ms(self, device: Device) -> int:
        """How long after its end a window of `device` stays open.

        The network's lateness or the site's, and at least 1.5 intervals of the device. [ms]
        """
        network = self.networks.get(device.network or "")
        lateness_s = self.lateness_s if network is None or network.lateness_s is None else network.lateness_s
        return int(1000 * max(lateness_s, 1.5 * (device.interval_s or 0.0)))
