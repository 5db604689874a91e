"""What a case says of coal on the road: terms of places, lanes, trucks, boxes and papers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from simulator.logistics.kinds import Wrong

__all__ = ["Coal", "Disorder", "Gps", "LaneTerms", "PlaceTerms", "Plan", "Train"]


@dataclass(frozen=True, slots=True)
class Coal:
    """What a mine's coal is on average.

    Attributes
    ----------
    moisture_pct, ash_pct, sulphur_pct : float
        As received. [%]
    q_net_ar_mj_kg : float
        Net calorific value as received, at `moisture_pct`. [MJ/kg]
    """

    moisture_pct: float = 12.0
    ash_pct: float = 18.0
    sulphur_pct: float = 0.6
    q_net_ar_mj_kg: float = 20.9


@dataclass(frozen=True, slots=True)
class PlaceTerms:
    """How a place works.

    Attributes
    ----------
    bays : int
        Trucks that are loaded or unloaded at once.
    bay_s : float
        Time that it takes. [s]
    opens_h, closes_h : float
        Local hours between which a truck may begin to be served.
    coal : Coal
        Of a mine or a station.
    stock_t : float or None
        What lies in a plant's yard at the start; None: as much as it burns in 20 days. [t]
    burn_t_day : float or None
        What a plant without a network burns on a day of −8 °C; None: what is planned to come. [t/d]
    """

    bays: int = 3
    bay_s: float = 900.0
    opens_h: float = 0.0
    closes_h: float = 24.0
    coal: Coal = field(default_factory=Coal)
    stock_t: float | None = None
    burn_t_day: float | None = None


@dataclass(frozen=True, slots=True)
class LaneTerms:
    """A road between two places.

    Attributes
    ----------
    points : tuple of (float, float)
        Latitudes and longitudes along it; made up where there are none. [°]
    speed_km_h : float
        Of free traffic in the middle of the road. [km/h]
    """

    points: tuple[tuple[float, float], ...] = ()
    speed_km_h: float = 72.0


@dataclass(frozen=True, slots=True)
class Train:
    """Trains of one contract.

    Attributes
    ----------
    wagons : int
    wagon_kg : float
        Coal in a wagon. [kg]
    hours : float
        Time on the rails. [h]
    sets : int
        Trains that go to and fro.
    """

    wagons: int = 50
    wagon_kg: float = 64_000.0
    hours: float = 14.0
    sets: int = 1


@dataclass(frozen=True, slots=True)
class Gps:
    """What the boxes of trucks do.

    Attributes
    ----------
    interval_s, parked_interval_s : float
        Between fixes while the truck moves, and while it stands. [s]
    tracked_share : float
        Share of the trucks that have a box at all.
    fixes_a_message : int
    noise_m : float
        Standard deviation of a position, each way. [m]
    outage_share, outage_s : float
        Share of the time without a line to the server, and the length of an outage. [s]
    backfill_share : float
        Share of outages whose fixes come when the line is back; the others are lost.
    stale_share : float
        Share of the boxes that send the last fix again and again while the truck stands.
    stale_years_share : float
        Share of such standing times in which the repeated fix is years old.
    zero_share, jump_share : float
        Share of fixes at (0, 0), and 500 km away.
    """

    interval_s: float = 10.0
    parked_interval_s: float = 10.0
    tracked_share: float = 1.0
    fixes_a_message: int = 1
    noise_m: float = 3.5
    outage_share: float = 0.01
    outage_s: float = 1800.0
    backfill_share: float = 0.5
    stale_share: float = 0.0
    stale_years_share: float = 0.05
    zero_share: float = 0.0
    jump_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Disorder:
    """What befalls tickets between the bridge and the server, each as a share of the tickets.

    Attributes
    ----------
    late_share, late_h : float
        Held back, for how long at most. [h]
    duplicate_share : float
        Sent twice by the bridge, as two messages.
    missing_share : float
        Never sent.
    swapped_share : float
        The later weighing comes before the earlier one.
    mislabelled_share : float
        Tare is called gross and gross tare.
    reused_share : float
        The ticket's number comes a second time with another mass.
    unknown_plate_share, unknown_contract_share : float
        With a plate or a contract that nobody knows.
    untagged_share : float
        Without the tag of the vehicle.
    bad_moisture_share : float
        Share of the laboratory's results with a moisture of 130 %.
    """

    late_share: float = 0.0
    late_h: float = 24.0
    duplicate_share: float = 0.0
    missing_share: float = 0.0
    swapped_share: float = 0.0
    mislabelled_share: float = 0.0
    reused_share: float = 0.0
    unknown_plate_share: float = 0.0
    unknown_contract_share: float = 0.0
    untagged_share: float = 0.0
    bad_moisture_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything about coal on the road that is not in the registry.

    Attributes
    ----------
    places, lanes, trains : mapping
        Terms by place, by (origin, destination) and by contract; missing ones are the default.
    division_kg : float
        Scale interval of the bridges. [kg]
    bridge_s, bridge_noise_kg, bridge_error : float
        Time on a bridge [s]; random error of a weighing [kg]; largest relative
        error that calibration leaves.
    loss_share : float
        Share of a load that is lost on the way as a rule.
    moisture_change_pct : float
        Mean change of the moisture on the way. [points]
    load_kg, load_sd_kg : float
        Coal on a truck, and how it varies. [kg]
    rest_after_h, rest_min : float
        A driver rests after so many hours at the wheel, for so long at least. [h], [min]
    off_duty_h : float
        Mean rest of a driver between rounds. [h]
    jam_share : float
        Share of the hours in which a stretch of road is jammed.
    closed_day_share : float
        Share of the days on which a mine does not load.
    sampling : str
        "lot", "ticket" or "both": what laboratories sample.
    releases, settle_days : int
        Releases a month; days between settlements.
    cancel_share, reject_share : float
        Share of contracts whose rest is cancelled at the month's end; of the receipts rejected.
    survey_days : int
        Days between surveys of a yard.
    spread_h : float
        The trucks set out one by one within this time. [h]
    earlier : bool
        Whether papers of the running month from before the run began are told at its begin.
    """

    places: Mapping[str, PlaceTerms] = field(default_factory=dict)
    lanes: Mapping[tuple[str, str], LaneTerms] = field(default_factory=dict)
    trains: Mapping[str, Train] = field(default_factory=dict)
    gps: Gps = field(default_factory=Gps)
    disorder: Disorder = field(default_factory=Disorder)
    wrongs: tuple[Wrong, ...] = ()
    division_kg: float = 20.0
    bridge_s: float = 90.0
    bridge_noise_kg: float = 8.0
    bridge_error: float = 0.0005
    loss_share: float = 0.002
    moisture_change_pct: float = -0.2
    load_kg: float = 31_000.0
    load_sd_kg: float = 700.0
    rest_after_h: float = 4.0
    rest_min: float = 25.0
    off_duty_h: float = 0.0
    jam_share: float = 0.01
    closed_day_share: float = 0.0
    sampling: str = "lot"
    releases: int = 4
    settle_days: int = 10
    cancel_share: float = 0.3
    reject_share: float = 0.01
    survey_days: int = 7
    spread_h: float = 24.0
    earlier: bool = False

    def terms(self, place: str) -> PlaceTerms:
        """How a place works."""
        return self.places.get(place, _TERMS)

    def lane(self, origin: str, destination: str) -> LaneTerms:
        """The road between two places."""
        return self.lanes.get((origin, destination), _LANE)


_TERMS: Final = PlaceTerms()
_LANE: Final = LaneTerms()
