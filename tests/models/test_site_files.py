"""A site's files: what a good one holds, and every fault by its place."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.site_files import SiteError, parse_site

SITE = """\
[site]
name = "North heating"
timezone = "Asia/Shanghai"

[[region]]
id = "north"
name = "North"

[[unit]]
id = "east"
region = "north"
name = "East plant"  # the only one
min_stock_t = 900

[[network]]
id = "e1"
unit = "east"
volume_m3 = 1200.5
window_s = 1800
lateness_s = 1200

[[network]]
id = "e2"
unit = "east"
"""
DEVICES = """\
device,class,unit,stream,network,name,lat_deg,lon_deg,node,qp_m3_h,accuracy_class,dt_min_k,mounting,interval_s,place
p-1,plant,east,,e1,"Boiler, ""one\""",39.1,117.2,n0,600,2,3,supply,10,works
s-1,substation,east,,e1,,,,n1,25.5,2,3,return,10,
t-1,truck,east,haul,,,,,,,,,,10,
"""
PIPES = """\
pipe,network,from_node,to_node,length_m,inner_diameter_m,u_w_m_k
a,e1,n0,n1,120,0.2,0.3
b,e1,n1,n2,80,0.1,
"""
PLACES = """\
place,unit,kind,name,lat_deg,lon_deg,radius_m
pit,,mine,Pit 4,38.5,112.9,900
works,east,plant,,39.1,117.2,400
"""
CONTRACTS = """\
contract,seller,buyer,unit,origin,destination,grade,month,planned_t,price_cny_t,q_ref_mj_kg,stream
C-7,Jin Coal,East,east,pit,works,Q5500,2026-01,60000,640,23.03,haul
"""
VEHICLES = """\
plate,device,tag,tare_kg,rated_kg
晋A12345,t-1,E280,15100,49000
晋A99999,,,,
"""
GOOD = {
    "site.toml": SITE,
    "devices.csv": DEVICES,
    "pipes.csv": PIPES,
    "places.csv": PLACES,
    "contracts.csv": CONTRACTS,
    "vehicles.csv": VEHICLES,
}


def faults_of(texts):
    with pytest.raises(SiteError) as caught:
        parse_site(texts)
    return list(caught.value.faults)


def changed(*changes):
    """The good site with (file, old, new) replaced; the old text must be there."""
    texts = dict(GOOD)
    for file, old, new in changes:
        assert old in texts[file], (file, old)
        texts[file] = texts[file].replace(old, new, 1)
    return texts


def test_a_good_site_is_read_whole():
    site, warnings = parse_site(GOOD)
    assert [str(w).partition(",")[0] for w in warnings] == [
        "site.toml:16:1: network 'e1' has pipes and no ground_c"
    ]
    assert (site.name, site.timezone, site.lateness_s, site.retention_days) == (
        "North heating", "Asia/Shanghai", 900, 400,
    )  # fmt: skip
    assert site.units["east"].min_stock_t == 900.0
    network = site.networks["e1"]
    assert (network.window_s, network.lateness_s, network.volume_m3) == (1800, 1200, 1200.5)
    assert isinstance(network.window_s, int)
    assert (site.networks["e2"].window_s, site.networks["e2"].name) == (3600, "e2")
    plant, substation, truck = site.devices.values()
    assert plant.name == 'Boiler, "one"'
    assert (plant.stream, plant.mounting, plant.accuracy_class, plant.interval_s) == (
        "east",
        "supply",
        2,
        10.0,
    )
    assert (substation.lat_deg, substation.energy_full_scale_gj, substation.place) == (None, None, None)
    assert (truck.device_class, truck.stream) == ("truck", "haul")
    assert site.streams == ("east", "haul")
    assert site.region_of(plant) == "north"
    assert site.lateness_of_ms(plant) == 1_200_000
    assert site.pipes["b"].u_w_m_k is None
    assert site.places["pit"].unit is None
    assert (site.contracts["C-7"].planned_t, site.contracts["C-7"].stream) == (60000.0, "haul")
    assert site.vehicles["晋A99999"].tare_kg is None
    assert dict(site.texts) == GOOD


def test_only_site_toml_has_to_be_there():
    site, warnings = parse_site({"site.toml": '[site]\nname = "x"\ntimezone = "UTC"\n'})
    assert not site.devices
    assert warnings == ()


def test_marks_line_ends_and_blank_lines_do_not_matter():
    texts = {name: "\ufeff" + text.replace("\n", "\r\n") for name, text in GOOD.items()}
    texts["devices.csv"] += "\r\n,,,,,,,,,,,,,,\r\n"
    assert parse_site(texts)[0].devices == parse_site(GOOD)[0].devices
    texts["devices.csv"] += "x,plane,east,,,,,,,,,,,,\r\n"
    assert [(f.line, f.column) for f in faults_of(texts)] == [(7, 3)]


# File | what stands there | what is put instead | line of the fault | what stands at its column | its message
FAULTS = r"""
site.toml | "Asia/Shanghai" | "Asia/Nowhere" | 3 | timezone | timezone: expected a time zone such as
site.toml | "Asia/Shanghai" | "../UTC" | 3 | timezone | timezone: expected a time zone
site.toml | "Asia/Shanghai" | "Asia" | 3 | timezone | timezone: expected a time zone
site.toml | "Asia/Shanghai" | 8 | 3 | timezone | timezone: expected text in quotes, got 8
site.toml | "Asia/Shanghai" | Asia | 3 | Asia | expected TOML: Invalid value
site.toml | timezone = "Asia/Shanghai" | | 1 | [site] | timezone: expected this key, got none
site.toml | timezone = | lateness_s = -1\ntimezone = | 3 | late | lateness_s: expected a whole
site.toml | timezone = |   lateness_s = 1.5\ntimezone = | 3 | lateness | lateness_s: expected a whole number
site.toml | timezone = | retention_days = true\ntimezone = | 3 | ret | retention_days: expected a
site.toml | [site] | [[site]] | 1 | [[site]] | site: expected [site], got [{
site.toml | [[region]] | [region] | 5 | [region] | region: expected [[region]], got {
site.toml | id = "e2" | id = "e 2" | 23 | id | id: expected 1 to 64 of A-Z a-z 0-9 _ . -, got 'e 2'
site.toml | id = "e2" | id = "e1" | 23 | id | id: expected it once, got 'e1' again (first in line 15)
site.toml | region = "north" | region = "south" | 11 | region | region: expected a region of site.toml, got
site.toml | _t = 900 | _t = "900" | 13 | min_stock_t | min_stock_t: expected a number from 0, got '900'
site.toml | _t = 900 | _t = nan | 13 | min_stock_t | min_stock_t: expected a number from 0, got nan
site.toml | = 1800 | = 1000 | 19 | window_s | window_s: expected a multiple of 900 above 0 up to 604800
site.toml | = 1800 | = 0 | 19 | window_s | window_s: expected a multiple of 900
devices.csv | p-1,plant | p 1,plant | 2 | p 1,plant | device: expected 1 to 64 of
devices.csv | p-1,plant | ,plant | 2 | ,plant | device: expected a value, got an empty cell
devices.csv | s-1, | p-1, | 3 | p-1, | device: expected it once, got 'p-1' again (first in line 2)
devices.csv | substation | pump | 3 | pump | class: expected one of plant, substation,
devices.csv | substation,east | substation,west | 3 | west | unit: expected a unit of site.toml, got 'west'
devices.csv | haul | a/b | 4 | a/b | stream: expected 1 to 64 of
devices.csv | haul | _refused | 4 | _refused | stream: expected another name than the reserved '_refused'
devices.csv | ,e1,,,,n1 | ,e9,,,,n1 | 3 | e9 | network: expected a network of site.toml, got 'e9'
devices.csv | ,e1,,,,n1 | ,e1,,,,n7 | 3 | n7 | node: expected an end of a pipe of network 'e1', got 'n7'
devices.csv | 39.1 | 90.1 | 2 | 90.1 | lat_deg: expected a number from -90 up to 90, got '90.1'
devices.csv | 117.2 | -181 | 2 | -181 | lon_deg: expected a number from -180 up to 180, got '-181'
devices.csv | 117.2 | | 2 | ,n0 | lon_deg: expected a value beside lat_deg, got an empty cell
devices.csv | 600 | 6OO | 2 | 6OO | qp_m3_h: expected a number above 0, got '6OO'
devices.csv | 600 | inf | 2 | inf | qp_m3_h: expected a number above 0, got 'inf'
devices.csv | 600 | 6_00 | 2 | 6_00 | qp_m3_h: expected a number above 0, got '6_00'
devices.csv | 600 | 0 | 2 | 0,2 | qp_m3_h: expected a number above 0, got '0'
devices.csv | 25.5,2, | 25.5,4, | 3 | 4,3 | accuracy_class: expected a whole number from 1 up to 3, got '4'
devices.csv | 25.5,2, | 25.5,1.5, | 3 | 1.5,3 | accuracy_class: expected a whole number
devices.csv | return | roof | 3 | roof | mounting: expected one of supply, return, got 'roof'
devices.csv | return,10 | return,-10 | 3 | -10 | interval_s: expected a number above 0 up to 604800, got '-10'
devices.csv | ,10,works | ,10,wroks | 2 | wroks | place: expected a place of places.csv, got 'wroks'
devices.csv | east,,e1,,,, | east,x,e1,,,, | 3 | x,e1 | stream: expected 'east' as for other
devices.csv | t-1,truck | t-1,truck, | 4 | t-1 | expected 15 cells as in the header, got 16
devices.csv | "Boiler | "Boil"er | 2 | p-1 | expected CSV: ',' expected after '"'
devices.csv | t-1,truck | t-1,"truck | 4 | t-1 | expected CSV: unexpected end of data
devices.csv | node, | name, | 1 | name,qp | name: expected the column once, got it again
pipes.csv | a,e1 | a,e9 | 2 | e9 | network: expected a network of site.toml, got 'e9'
pipes.csv | 120 | 0 | 2 | 0,0.2 | length_m: expected a number above 0, got '0'
pipes.csv | n1,n2 | n1,n1 | 3 | n1,80 | to_node: expected another node than from_node, got 'n1' for both
pipes.csv | n1,n2 | ,n2 | 3 | ,n2 | from_node: expected a value, got an empty cell
pipes.csv | length_m, | length, | 1 | pipe | length_m: expected this column, the header has none
pipes.csv | 0.3 | -0.3 | 2 | -0.3 | u_w_m_k: expected a number from 0, got '-0.3'
places.csv | mine | pit | 2 | pit,Pit | kind: expected one of mine, plant, yard, station
places.csv | ,900 | , | 2 | \n | radius_m: expected a value, got an empty cell
contracts.csv | 2026-01 | 2026-13 | 2 | 2026-13 | month: expected a month as YYYY-MM, got '2026-13'
contracts.csv | 2026-01 | 0000-01 | 2 | 0000-01 | month: expected a month from 1970 up to 8999, got '0000-01'
contracts.csv | 2026-01 | 9999-12 | 2 | 9999-12 | month: expected a month from 1970 up to 8999, got '9999-12'
contracts.csv | 2026-01 | 2026-1 | 2 | 2026-1 | month: expected a month as YYYY-MM, got '2026-1'
contracts.csv | ,pit, | ,pot, | 2 | pot | origin: expected a place of places.csv, got 'pot'
contracts.csv | 23.03 | 5500 | 2 | 5500 | q_ref_mj_kg: expected a number above 0 up to 40, got '5500'
vehicles.csv | t-1 | s-1 | 2 | s-1 | device: expected a device of class truck, got 's-1' of class
vehicles.csv | t-1 | t-9 | 2 | t-9 | device: expected a device of devices.csv, got 't-9'
vehicles.csv | 49000 | 15100 | 2 | 15100\n | rated_kg: expected the largest gross, above the tare of 15100
vehicles.csv | 99999,, | 99999,t-1, | 3 | t-1 | device: expected it once, got 't-1' again (first in line 2)
vehicles.csv | 99999 | 12345 | 3 | 晋A12345 | plate: expected it once, got '晋A12345' again (first in line 2)
"""


@pytest.mark.parametrize("case", FAULTS.strip().splitlines())
def test_one_mistake_is_one_fault(case):
    file, old, new, line, at, message = (part[1:-1].replace("\\n", "\n") for part in f" {case} ".split("|"))
    texts = changed((file.strip(), old, new))
    faults = faults_of(texts)
    assert len(faults) == 1, faults
    fault = faults[0]
    assert (fault.file, fault.line) == (file.strip(), int(line))
    assert texts[fault.file].splitlines(keepends=True)[fault.line - 1][fault.column - 1 :].startswith(at)
    assert fault.message.startswith(message)


def test_ten_mistakes_are_ten_faults_in_order():
    texts = changed(
        ("site.toml", '"Asia/Shanghai"', '"Moon"'),
        ("site.toml", 'id = "north"', 'id = "nor/th"'),
        ("site.toml", 'region = "north"', 'region = "nor/th"'),
        ("site.toml", "window_s = 1800", "window_s = 1801"),
        ("devices.csv", "substation", "substatoin"),
        ("devices.csv", "117.2", "E117"),
        ("devices.csv", "t-1,truck,east", "t-1,truck,wset"),
        ("pipes.csv", "120", "0"),
        ("places.csv", "works,east,plant", "works,east,factory"),
        ("contracts.csv", "2026-01", "2026-13"),
        ("vehicles.csv", "t-1", "t-2"),
    )
    faults = faults_of(texts)
    assert [(f.file, f.line) for f in faults] == [
        ("site.toml", 3), ("site.toml", 6), ("site.toml", 19),
        ("devices.csv", 2), ("devices.csv", 3), ("devices.csv", 4),
        ("pipes.csv", 2), ("places.csv", 3), ("contracts.csv", 2), ("vehicles.csv", 2),
    ]  # fmt: skip
    with pytest.raises(SiteError) as caught:
        parse_site(texts)
    assert str(caught.value).count("\n") == 9
    assert str(faults[0]).startswith("site.toml:3:1: timezone: ")


def test_what_cannot_be_read_makes_no_echo():
    """With site.toml or a table broken, references into it say nothing."""
    broken = changed(("site.toml", "[[unit]]", "[[unit"))
    assert [(f.file, f.line) for f in faults_of(broken)] == [("site.toml", 9)]
    nameless = changed(("site.toml", 'id = "east"', 'id = ""'))
    assert [(f.file, f.line) for f in faults_of(nameless)] == [("site.toml", 10)]
    misspelt = changed(("places.csv", "place,unit", "plaec,unit"))
    assert [(f.file, f.line) for f in faults_of(misspelt)] == [("places.csv", 1)]
    semicolons = GOOD | {"places.csv": PLACES.replace(",", ";")}
    assert [(f.file, f.line) for f in faults_of(semicolons)] == [("places.csv", 1)]
    empty = GOOD | {"places.csv": ""}
    assert [(f.file, f.line) for f in faults_of(empty)] == [("places.csv", 1)]


def test_faulty_rows_are_still_there_to_be_referred_to():
    texts = changed(("devices.csv", "t-1,truck", "t-1,trukc"), ("places.csv", "38.5", "385"))
    assert [(f.file, f.line) for f in faults_of(texts)] == [("devices.csv", 4), ("places.csv", 2)]


def test_a_missing_site_table_is_one_fault():
    faults = faults_of(GOOD | {"site.toml": SITE[SITE.index("[[region]]") :]})
    assert [(f.line, f.message) for f in faults] == [(1, "site: expected [site], got none")]
    assert [f.message for f in faults_of({"site.toml": ""})] == ["site: expected [site], got none"]


def test_the_unknown_is_a_warning_with_its_place():
    texts = changed(
        ("site.toml", "[[region]]", "[theme]\nblue = 1\n[[region]]"),
        ("site.toml", "min_stock_t", 'owner = "me"\nmin_stock_t'),
        ("pipes.csv", ",u_w_m_k", ",U"),
    ) | {"device.csv": DEVICES}  # fmt: skip
    _, warnings = parse_site(texts)
    assert [(w.file, w.line, w.column) for w in warnings] == [
        ("site.toml", 5, 1), ("site.toml", 15, 1), ("site.toml", 19, 1), ("pipes.csv", 1, 58), ("device.csv", 1, 1),
    ]  # fmt: skip
    assert "'owner'" in warnings[1].message
    assert "no_ground_c" in warnings[2].message
    assert "'U'" in warnings[3].message


def test_strings_of_many_lines_do_not_shift_places():
    texts = changed(
        ("site.toml", 'name = "North"', 'name = """North\n[[unit]]\nid = "?"\n"""'),
        ("site.toml", "volume_m3 = 1200.5", "volume_m3 = 0"),
    )
    assert [(f.line, f.column) for f in faults_of(texts)] == [(21, 1)]


def test_cells_of_many_lines_do_not_shift_places():
    texts = changed(("devices.csv", "Boiler,", "Boiler\n,"), ("devices.csv", "substation", "pump"))
    assert [(f.line, f.column) for f in faults_of(texts)] == [(4, 5)]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(GOOD)), st.integers(0, 900), st.integers(0, 40), st.text(max_size=4))
def test_any_garbling_gives_a_site_or_faults_with_places(file, at, cut, put):
    text = GOOD[file]
    texts = GOOD | {file: text[:at] + put + text[at + cut :]}
    try:
        _, found = parse_site(texts)
    except SiteError as error:
        found = error.faults
        assert found
    for fault in found:
        assert fault.file in texts
        assert 1 <= fault.line <= len(texts[fault.file].splitlines()) + 1
        assert fault.column >= 1
    places = [(f.file, f.line, f.column, f.message) for f in found]
    assert len(set(places)) == len(places)


def test_a_hundred_thousand_devices_in_seconds():
    rows = [f"m-{i},meter,east,,e2,flat {i},,,,1.5,2,3,return,3600," for i in range(100_000)]
    texts = changed(("devices.csv", "t-1,", "\n".join(rows) + "\nt-1,"))
    began = time.process_time()
    site, _ = parse_site(texts)
    assert time.process_time() - began < 60.0  # 2.2 s where it was written; a slow runner is no fault
    assert len(site.devices) == 100_003
