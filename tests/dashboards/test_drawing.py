import json
from dataclasses import replace

from dashboards.drawing import drawing, tree
from models.site import Device, Network, Pipe
from tests.support.board_data import make_site

NET = Network("net-1", "donghe", "东河一网")


def pipe(name, a, b, length=100.0):
    return Pipe(name, "net-1", a, b, length, 0.2)


def site(pipes, nodes, **extra):
    devices = {
        name: Device(name, "plant" if name.startswith("plant") else "substation", "donghe", "donghe",
                     "net-1", name, node=node, **extra.get(name, {}))
        for name, node in nodes.items()
    }  # fmt: skip
    return replace(make_site(0), devices=devices, pipes={p.pipe: p for p in pipes})


TREE = [pipe("a", "p", "x"), pipe("b", "x", "y", 50.0), pipe("c", "z", "x", 70.0)]
ENDS = {"plant-1": "p", "sub-1": "y", "sub-2": "z"}


def behind(made):
    """Substations behind each pipe."""
    return {
        p["pipe"]: p["behind"] and sorted(made["substations"][slice(*p["behind"])]) for p in made["pipes"]
    }


def test_a_pipe_carries_what_hangs_behind_it_whichever_way_it_is_registered():
    made = drawing(site(TREE, ENDS), NET)
    assert behind(made) == {"a": ["sub-1", "sub-2"], "b": ["sub-1"], "c": ["sub-2"]}
    assert made["nodes"]["z"]["distance_m"] == 170.0
    assert made["placed"] == "length"
    assert made["nodes"]["p"]["x"] == 0.0
    assert made["nodes"]["z"]["x"] == 1.0


def test_what_a_pipe_of_a_loop_carries_is_not_known_and_behind_the_loop_it_is():
    pipes = [pipe("a", "p", "x"), pipe("b", "p", "y", 120.0), pipe("c", "x", "y"), pipe("d", "y", "z")]
    made = drawing(site(pipes, {**ENDS, "sub-1": "x"}), NET)
    assert behind(made) == {"a": None, "b": None, "c": None, "d": ["sub-2"]}


def test_nodes_lie_where_their_devices_do_and_others_between_them():
    at = {"plant-1": {"lat_deg": 38.0, "lon_deg": 114.0}, "sub-1": {"lat_deg": 38.02, "lon_deg": 114.0},
          "sub-2": {"lat_deg": 38.0, "lon_deg": 114.01}}  # fmt: skip
    made = drawing(site(TREE, ENDS, **at), NET)
    assert made["placed"] == "map"
    nodes = made["nodes"]
    assert nodes["y"]["y"] < nodes["x"]["y"] < nodes["p"]["y"]  # north is up
    assert nodes["z"]["x"] > nodes["x"]["x"] > nodes["p"]["x"]


def test_what_is_missing_is_said_and_devices_that_no_pipe_reaches_are_named():
    assert drawing(site([], ENDS), NET)["missing"] == "no pipes registered"
    assert drawing(site(TREE, {"sub-1": "y"}), NET)["missing"] == "no plant at a node"
    made = drawing(site([*TREE, pipe("far", "q", "r")], {**ENDS, "sub-9": "r"}), NET)
    assert made["apart"] == ["sub-9"]
    assert "r" not in made["nodes"]


def test_the_tree_takes_the_shortest_ways_and_survives_a_thousand_nodes():
    chain = [pipe(f"c{i}", f"n{i}", f"n{i + 1}", 1.0) for i in range(1000)]
    assert tree(chain, "n0").distance_m["n1000"] == 1000.0
    made = drawing(site(chain, {"plant-1": "n0", **{f"sub-{i}": f"n{i}" for i in range(1, 1001)}}), NET)
    assert len(made["pipes"]) == 1000
    assert len(behind(made)["c0"]) == 1000
    assert behind(made)["c999"] == ["sub-1000"]
    assert len(json.dumps(made)) < 300_000, "a pipe says where its substations stand, not each of them again"
