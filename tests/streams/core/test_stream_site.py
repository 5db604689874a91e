"""A registry seen by device index: as more devices are met it is what it would be from the beginning."""

import numpy as np

from models.site_files import parse_site
from streams.core.stream_site import Meters, StreamSite

TEXTS = {
    "site.toml": (
        '[site]\nid = "s"\nname = "s"\ntimezone = "Asia/Shanghai"\n'
        '[[region]]\nid = "r"\nname = "r"\n'
        '[[unit]]\nid = "u"\nregion = "r"\nname = "u"\n[[unit]]\nid = "v"\nregion = "r"\nname = "v"\n'
        '[[network]]\nid = "n"\nunit = "u"\nname = "n"\nlateness_s = 1200\nreturn_ref_c = 45\n'
    ),
    "devices.csv": (
        "device,class,unit,network,interval_s,qp_m3_h,mounting\n"
        "s1,substation,u,n,10,2.5,supply\n"
        "p1,plant,u,n,,,return\n"
        "m1,meter,v,,3600,1.5,\n"
        "w1,weather,u,,600,,\n"
    ),
}
COLUMNS = ("names", "owned", "classes", "units", "regions", "lateness_ms", "networks")


def columns(site):
    return [getattr(site, name) for name in COLUMNS] + [getattr(site.meters, n) for n in Meters.__slots__]


def test_who_is_met_later_stands_as_if_met_at_once():
    registry, _ = parse_site(TEXTS)
    born = {"p1": 1800.0, "stranger": 60.0}
    ids = ("m1", "stranger", "s1", "p1", "w1")
    grown = None
    for met in (0, 2, 3, 5):
        grown = StreamSite(registry, ids[:met], born, "u", grown)
        whole = StreamSite(registry, ids[:met], born, "u")
        for mine, theirs in zip(columns(grown), columns(whole), strict=True):
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs)
        assert grown.longest_of_all_ms == whole.longest_of_all_ms
        assert grown.registered_lateness_ms("plant") == whole.registered_lateness_ms("plant")
    assert grown.owned.tolist() == [False, False, True, True, True]
