"""Which registries a stream keeps, and by which of them its windows go."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from models.site import Site
from models.site_files import parse_site
from streams.core import site_history
from streams.core.site_history import PastRegistry, SiteHistory, followed_by
from streams.core.stream_site import StreamSite
from tests.support.telemetry import SITE_TEXTS, T0

DAY_MS = 86_400_000
DEVICES = SITE_TEXTS["devices.csv"]


def site(devices: str = DEVICES, toml: str = SITE_TEXTS["site.toml"]) -> Site:
    return parse_site({"site.toml": toml, "devices.csv": devices})[0]


def mounted(device: str) -> Site:
    """The registry with a device on the supply pipe."""
    return site("".join(
        line.replace("return", "supply") if line.startswith(device) else line for line in DEVICES.splitlines(keepends=True)
    ))  # fmt: skip


def view(present: Site, ids: Sequence[str], *past: tuple[int, Site]) -> StreamSite:
    stream = StreamSite(present, ids, {}, "u1")
    stream.history = SiteHistory([PastRegistry.of(was, until) for until, was in past], {}, "u1")
    return stream


def test_a_registry_that_says_the_same_of_the_stream_is_not_kept() -> None:
    one = site()
    elsewhere = SITE_TEXTS["site.toml"] + '[[unit]]\nid = "u9"\nregion = "r1"\nname = "nine"\n'
    other = site(DEVICES + "far,substation,u9,,20,2,3,return,60\n", elsewhere)
    assert one != other
    assert followed_by((), one, other, "u1", T0) == ()
    assert [p.until_ms for p in followed_by((), one, mounted("sub-1"), "u1", T0)] == [T0]
    assert [
        p.until_ms for p in followed_by((), one, site(toml=elsewhere.replace("900", "901")), "u1", T0)
    ] == [T0]


def test_a_registry_by_which_nothing_was_settled_is_not_kept() -> None:
    past = followed_by((), site(), mounted("sub-1"), "u1", T0)
    assert followed_by(past, mounted("sub-1"), mounted("sub-2"), "u1", T0) == past
    later = followed_by(past, mounted("sub-1"), mounted("sub-2"), "u1", T0 + 1)
    assert [p.until_ms for p in later] == [T0, T0 + 1]
    assert later[1].site.devices["sub-1"].mounting == "supply"


def test_what_is_kept_is_bounded_by_number_and_by_the_retention_of_readings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(site_history, "MOST_KEPT", 3)
    past: tuple[PastRegistry, ...] = ()
    turns = [mounted("sub-1"), mounted("sub-2")]
    for at in range(6):
        past = followed_by(past, turns[at % 2], turns[(at + 1) % 2], "u1", T0 + at)
    assert [p.until_ms for p in past] == [T0 + 3, T0 + 4, T0 + 5]
    aged = T0 + 5 + 400 * DAY_MS
    assert [p.until_ms for p in followed_by(past, turns[0], turns[1], "u1", aged)] == [T0 + 5, aged]


def test_each_device_goes_by_the_registry_that_held_when_its_window_was_due() -> None:
    ids = ["sub-1", "meter-1"]  # a window of the second stays open for its interval and a half: as long
    slow = DEVICES.replace("return,600", "return,3600")
    old, new = (
        site(slow.replace("sub-1,substation,u1,n1,20", "sub-1,substation,u1,n1,5").replace("n1,3,", "n1,4,")),
        site(slow),
    )
    stream = view(new, ids, (T0, old))
    lateness_ms = {"sub-1": 900_000, "meter-1": 5_400_000}
    for end_ms, expected in [
        (T0 - lateness_ms["meter-1"], [5.0, 4.0]),
        (T0 - lateness_ms["meter-1"] + 1, [5.0, 3.0]),
        (T0 - lateness_ms["sub-1"], [5.0, 3.0]),
        (T0 - lateness_ms["sub-1"] + 1, [20.0, 3.0]),
        (T0 + 1, [20.0, 3.0]),
    ]:
        assert stream.over(end_ms).meters.qp_m3_h.tolist() == expected
    assert stream.over(T0 + 1) is stream


def test_a_device_that_was_not_there_then_goes_by_the_last_that_had_it_or_the_first_after() -> None:
    def with_new(qp: str) -> Site:
        return site(DEVICES + (f"new,substation,u1,n1,{qp},2,3,return,60\n" if qp else ""))

    there = view(with_new("9"), ["new"], (T0, with_new("5")), (T0 + DAY_MS, with_new("")))
    assert there.over(T0 + DAY_MS // 2).meters.qp_m3_h.tolist() == [5.0]
    later = view(with_new("9"), ["new"], (T0, with_new("")), (T0 + DAY_MS, with_new("5")))
    assert later.over(T0 - DAY_MS).meters.qp_m3_h.tolist() == [5.0]
    never = view(with_new("9"), ["new"], (T0, with_new("")))
    assert never.over(T0 - DAY_MS).meters.qp_m3_h.tolist() == [9.0]


def test_of_another_class_or_stream_it_is_as_if_it_had_not_been_there() -> None:
    was = site(DEVICES.replace("sub-1,substation,u1,n1,20", "sub-1,meter,u1,n1,5"))
    assert view(site(), ["sub-1"], (T0, was)).over(T0 - DAY_MS).meters.qp_m3_h.tolist() == [20.0]


def test_who_is_in_the_stream_stays_as_at_present() -> None:
    gone = site("".join(line for line in DEVICES.splitlines(keepends=True) if not line.startswith("sub-1")))
    stream = view(gone, ["sub-1", "sub-2"], (T0, mounted("sub-2")))
    then = stream.over(T0 - DAY_MS)
    assert then.owned.tolist() == [False, True]
    assert then.meters.on_supply.tolist() == [False, True]


def test_devices_that_are_met_later_are_known_in_registries_of_before() -> None:
    first = view(site(), ["sub-1"], (T0, mounted("sub-2")))
    assert first.over(T0 - DAY_MS).meters.on_supply.tolist() == [False]
    grown = StreamSite(site(), ["sub-1", "sub-2"], {}, "u1", first)
    grown.history = first.history
    assert grown.over(T0 - DAY_MS).meters.on_supply.tolist() == [False, True]
    assert np.array_equal(grown.meters.on_supply, [False, False])


def test_registries_since_a_time_end_with_the_present_one() -> None:
    stream = view(site(), ["sub-1"], (T0, mounted("sub-1")), (T0 + DAY_MS, mounted("sub-2")))
    assert [until for until, _ in stream.since(T0)] == [T0, T0 + DAY_MS, None]
    assert [until for until, _ in stream.since(T0 + 1)] == [T0 + DAY_MS, None]
    assert [until for until, _ in stream.since(T0 + DAY_MS + 1)] == [None]
    assert [until for until, _ in stream.since(T0 - DAY_MS, T0 - 900_000)] == [T0]
    assert [until for until, _ in stream.since(T0 - DAY_MS, T0 - 899_999)] == [T0, T0 + DAY_MS]
