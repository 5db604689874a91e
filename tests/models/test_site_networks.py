"""Networks that cannot be: every one is refused with its file, line and column, or kept where it can be worked with."""

import pytest

from models.site_files import SiteError, parse_site

SITE = """\
[site]
name = "North"
timezone = "Asia/Shanghai"
[[region]]
id = "r"
[[unit]]
id = "u"
region = "r"
[[network]]
id = "n1"
unit = "u"
ground_c = 6
[[network]]
id = "n2"
unit = "u"
"""
DEVICES = """\
device,class,unit,network,node
boiler,plant,u,n1,p
east,substation,u,n1,b
west,substation,u,n1,c
"""
PIPES = """\
pipe,network,from_node,to_node,length_m,inner_diameter_m
1,n1,p,a,100,0.2
2,n1,a,b,50,0.1
3,n1,a,c,60,0.1
"""


def parsed(devices=DEVICES, pipes=PIPES):
    return parse_site({"site.toml": SITE, "devices.csv": devices, "pipes.csv": pipes})[0]


def warned(devices=DEVICES, pipes=PIPES, site=SITE):
    _, warnings = parse_site({"site.toml": site, "devices.csv": devices, "pipes.csv": pipes})
    return [str(w) for w in warnings if not w.message.startswith("qp_m3_h")]


def test_a_tree_is_taken():
    assert len(parsed().pipes) == 3


def test_a_loop_is_taken_for_real_networks_have_them():
    assert len(parsed(pipes=PIPES + "4,n1,b,c,40,0.1\n").pipes) == 4


@pytest.mark.parametrize(
    ("devices", "pipes", "fault"),
    [
        (
            DEVICES.replace("east,substation,u,n1,b", "east,substation,u,n1,d"), PIPES,
            "devices.csv:3:22: node: expected an end of a pipe of network 'n1', got 'd'",
        ),
        (
            DEVICES, PIPES.replace("3,n1,a,c", "3,n1,x,c"),
            "pipes.csv:4:6: from_node: expected pipes that join 'x' to a plant (p) of network 'n1', got none",
        ),
        (
            DEVICES.replace("boiler,plant,u,n1,p\n", ""), PIPES.replace("3,n1,a,c", "3,n1,x,c"),
            "pipes.csv:4:6: from_node: expected pipes that join 'x' to the first pipe of network 'n1', got none",
        ),
        (
            DEVICES, PIPES.replace("2,n1,a,b,50", "2,n1,a,b,0"),
            "pipes.csv:3:10: length_m: expected a number above 0, got '0'",
        ),
        (
            DEVICES, PIPES.replace("2,n1,a,b", "2,n1,a,a").replace("3,n1,a,c", "3,n1,a,b"),
            "pipes.csv:3:8: to_node: expected another node than from_node, got 'a' for both",
        ),
        (
            DEVICES + "east,substation,u,n2,\n", PIPES,
            "devices.csv:5:1: device: expected it once, got 'east' again (first in line 3)",
        ),
        (
            DEVICES.replace("east,substation,u,n1,b", "east,substation,u,n2,b"), PIPES,
            "devices.csv:3:22: node: expected a node of network 'n2', got 'b' on pipes of 'n1'",
        ),
    ],
    ids=["node of no pipe", "pipe apart", "pipe apart, no plant", "no length", "onto itself", "twice", "two networks"],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_place(devices, pipes, fault):
    with pytest.raises(SiteError) as caught:
        parsed(devices, pipes)
    assert fault in str(caught.value).splitlines()
    if "onto itself" not in fault and "another node" not in fault:
        assert len(caught.value.faults) == 1, caught.value


def test_a_node_may_belong_to_both_networks_that_meet_there():
    both = PIPES + "s1,n2,b,h,30,0.05\n"
    assert len(parsed(pipes=both).pipes) == 4


NO_PIPES = PIPES.splitlines(keepends=True)[0]


@pytest.mark.parametrize(
    ("devices", "pipes", "place", "words"),
    [
        (DEVICES.replace("boiler,plant,u,n1,p\n", ""), PIPES, "site.toml:10:1: network 'n1'", "no_plant"),
        (DEVICES + "lone,meter,u,n2,\n", PIPES, "site.toml:14:1: network 'n2'", "no_plant"),
        (DEVICES + "spare,plant,u,n2,\n", PIPES, "site.toml:14:1: network 'n2'", "no_device"),
        (DEVICES + "lost,substation,u,n1,\n", PIPES, "devices.csv:5:22: node: 'lost'", "no_node"),
        (DEVICES, PIPES + "4,n1,b,c,40,0.1\n", "pipes.csv:5:1: pipe: '4'", "loop"),
        (DEVICES, PIPES + "2b,n1,b,a,50,0.1\n", "pipes.csv:5:1: pipe: '2b'", "loop"),
    ],
    ids=["no plant", "no plant, no pipes", "no consumer", "no node", "a loop", "beside another"],
)
def test_what_leaves_balances_without_a_number_is_warned_of_with_its_place(devices, pipes, place, words):
    (warning,) = warned(devices, pipes)
    assert warning.startswith(place)
    assert warning.endswith(f"({words})")


def test_pipes_without_a_ground_are_warned_of():
    (warning,) = warned(site=SITE.replace("ground_c = 6\n", ""))
    assert warning.startswith("site.toml:10:1: network 'n1' has pipes and no ground_c")
    assert warned(pipes=NO_PIPES, site=SITE.replace("ground_c = 6\n", "")) == []


def test_networks_that_balance_or_are_empty_are_not_warned_of():
    assert warned() == []
    assert warned(pipes=PIPES + "s1,n2,b,h,30,0.05\n") == [], "a node of two networks closes no loop"
    assert warned(devices=DEVICES + "t,truck,u,,\n") == []


def test_one_loop_is_one_warning_however_long():
    ring = "".join(f"r{n},n1,x{n},x{(n + 1) % 50},10,0.1\n" for n in range(50)) + "in,n1,a,x0,10,0.1\n"
    (warning,) = warned(pipes=PIPES + ring)
    assert "'r49' closes a loop" in warning


def test_meters_without_a_nominal_flow_are_one_warning_however_many():
    rows = "".join(f"meter-{n},meter,u,n1,{'' if n else 3}\n" for n in range(5_000))
    texts = {
        "site.toml": SITE,
        "devices.csv": "device,class,unit,network,qp_m3_h\nboiler,plant,u,n1,60\n" + rows,
    }
    (warning,) = parse_site(texts)[1]
    assert str(warning).startswith(
        "devices.csv:4:20: qp_m3_h: 4999 of 5001 plants, substations and meters have none"
    )
    assert "'meter-1'" in warning.message
    none = parse_site({**texts, "devices.csv": texts["devices.csv"].replace(",\n", ",3\n")})[1]
    assert none == ()
