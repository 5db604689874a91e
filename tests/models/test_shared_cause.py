"""Which branch many faults have in common, who joins them, and who has nothing to do with it."""

from __future__ import annotations

from models.branches import Branches, nearest
from models.shared_cause import LEAST_CHILDREN, TOGETHER_MS, Child, grouped
from models.site import Device, Network, Pipe, Region, Site, Unit

T = 1_768_000_000_000 // 900_000 * 900_000


def site(*, pipes: bool = True, more: int = 0) -> Site:
    """plant – a – (s1 s2 s3 s4), plant – b – (s5 s6 s7), a – c – (s8 s9), plant – d – `more`."""
    edges = [("p", "a"), ("p", "b"), ("a", "c")]
    edges += [("a", f"n{i}") for i in (1, 2, 3, 4)] + [("b", f"n{i}") for i in (5, 6, 7)]
    edges += [("c", f"n{i}") for i in (8, 9)]
    edges += [("p", "d"), *(("d", f"n{i}") for i in range(10, 10 + more))]
    devices = [Device("plant", "plant", "u", "u", "net", node="p")]
    devices += [Device(f"s{i}", "substation", "u", "u", "net", node=f"n{i}") for i in range(1, 10 + more)]
    laid = {f"{a}-{b}": Pipe(f"{a}-{b}", "net", a, b, 100.0, 0.1) for a, b in edges}
    return Site(
        "s", "test", "Asia/Shanghai", regions={"r": Region("r", "r")}, units={"u": Unit("u", "r", "u")},
        networks={"net": Network("net", "u", "net")}, devices={d.device: d for d in devices},
        pipes=laid if pipes else {},
    )  # fmt: skip


def children(*names: str, at: int = T, code: str = "pump_trip") -> list[Child]:
    return [Child(n, code, at, 1.0) for n in names]


def group(standing: list[Child], known=(), *, pipes: bool = True, more: int = 0):
    return grouped("net", standing, known, lambda: Branches(site(pipes=pipes, more=more), "net"))


def test_a_branch_that_is_hit_is_one_cause_with_its_children_named() -> None:
    (cause,) = group(children("s5", "s6", "s7", "s1"))
    assert (cause.pipe, cause.node, cause.members) == ("p-b", "b", 3)
    assert sorted(cause.children) == ["s5", "s6", "s7"]
    assert cause.key_of("s5") == f"s5:pump_trip:{T}"


def test_fewer_than_enough_or_a_small_share_is_no_cause() -> None:
    assert group(children("s5", "s6")) == []
    assert group(children("s1", "s5", "s8")) == []
    assert LEAST_CHILDREN == 3


def test_what_began_at_another_time_is_another_thing() -> None:
    apart = children("s5", "s6") + children("s7", at=T - TOGETHER_MS - 900_000)
    assert group(apart) == []
    assert len(group(children("s5", "s6") + children("s7", at=T - TOGETHER_MS))) == 1


def test_who_comes_late_joins_and_who_is_elsewhere_does_not() -> None:
    known = group(children("s1", "s2", "s3", "s8"))
    assert [c.node for c in known] == ["a"]
    late = children("s4", "s5", at=T + TOGETHER_MS)
    (cause,) = group([*children("s1", "s2", "s3", "s8"), *late], known)
    assert sorted(cause.children) == ["s1", "s2", "s3", "s4", "s8"]


def test_the_whole_network_and_one_without_pipes() -> None:
    every = [f"s{i}" for i in range(1, 10)]
    (cause,) = group(children(*every))
    assert (cause.pipe, cause.node, cause.members) == ("", "p", 9)
    (cause,) = group(children(*every), pipes=False)
    assert (cause.pipe, cause.members, len(cause.children)) == ("", 9, 9)


def test_two_branches_are_two() -> None:
    hit = children("s5", "s6", "s7", "s1", "s2", "s3", "s8")
    assert {(c.node, len(c.children)) for c in group(hit, more=7)} == {("a", 4), ("b", 3)}
    assert [c.node for c in group(hit)] == ["p"]  # and where they are nearly all there is, one


def test_neighbours_are_the_nearest_along_the_pipes() -> None:
    ids = ["plant", *(f"s{i}" for i in range(1, 10))]
    near = nearest(site(), ids)
    assert [ids[n] for n in near[1][:3]] == ["s2", "s3", "s4"]
    assert ids[near[8][0]] == "s9"
    assert (near[0] == -1).all()
    assert (nearest(site(pipes=False), ids) == -1).sum() > 0
