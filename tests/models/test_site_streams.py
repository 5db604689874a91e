"""Yards and offices in a stream where nobody looks for what they say are warned of; others are not."""

import pytest

from models.site_files import parse_site

SITE = """\
[site]
name = "North"
timezone = "Asia/Shanghai"
[[region]]
id = "r"
[[unit]]
id = "u"
region = "r"
[[unit]]
id = "trade"
region = "r"
"""
DEVICES = """\
device,class,unit,stream
boiler,plant,u,
yard-1,yard,u,{yard}
desk,office,u,{desk}
"""
PLACES = "place,unit,kind,name,lat_deg,lon_deg,radius_m\nmine,,mine,M,39,116,500\nheap,u,yard,H,39,117,500\n"
CONTRACTS = (
    "contract,seller,buyer,unit,origin,destination,grade,month,planned_t,stream\n"
    "K1,S,B,u,mine,heap,5500,2026-11,600,haul\n"
)


def warned(yard="", desk="", contracts=None, more=""):
    texts = {"site.toml": SITE, "devices.csv": DEVICES.format(yard=yard, desk=desk) + more}
    if contracts:
        texts |= {"places.csv": PLACES, "contracts.csv": contracts}
    return [str(w) for w in parse_site(texts)[1]]


def test_a_yard_apart_from_its_plants_is_warned_of():
    (warning,) = warned(yard="haul")
    assert warning.startswith("devices.csv:3:15: stream: 'yard-1' is in 'haul', and the coal of unit 'u'")
    assert warning.endswith("(no_stock)")


@pytest.mark.parametrize(
    ("plants", "yard", "home"),
    [
        ("boiler,plant,u,heat\n", "u", "heat"),  # a stream of the unit's own name holds no plant of it
        ("boiler,plant,u,zeta\nturbine,plant,u,heat\n", "zeta", "heat"),
        ("boiler,plant,u,heat\nturbine,plant,u,\n", "heat", "u"),
    ],
)
def test_coal_is_reckoned_where_it_is_said_to_be(plants, yard, home):
    """What a site is warned of is what operators do."""
    devices = f"device,class,unit,stream\n{plants}yard-1,yard,u,{yard}\ndesk,office,u,\n"
    site, warnings = parse_site({"site.toml": SITE, "devices.csv": devices})
    assert site.stream_of_unit("u") == home
    assert any("'yard-1' is in" in str(w) and f"reckoned in {home!r}" in str(w) for w in warnings)
    assert any("surveys" in str(w) for w in warnings) == (home != "u")


@pytest.mark.parametrize(
    ("desk", "lacks", "what"),
    [("haul", "u", "flushings and surveys"), ("", "haul", "releases, settlements and corrections")],
)
def test_an_office_that_half_of_the_unit_does_not_hear_is_warned_of(desk, lacks, what):
    (warning,) = warned(desk=desk, contracts=CONTRACTS)
    assert f"no office of unit 'u' is in {lacks!r}, where its {what} are looked for" in warning


def test_two_offices_serve_both():
    assert warned(contracts=CONTRACTS, more="coal,office,u,haul\n") == []
    assert warned(contracts=CONTRACTS, more="coal,office,trade,haul\n") == [], "contracts need no own office"


def test_a_unit_without_plants_or_contracts_may_have_its_office_anywhere():
    assert warned(more="other,office,trade,somewhere\nheap,yard,trade,somewhere\n") == []
