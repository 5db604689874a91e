"""What may be registered, though results will lack a number or be in doubt: warnings with their place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from models.site_pieces import Pieces
from models.site_table import Fault, Report, Row, Table

__all__ = ["warn_of_meters", "warn_of_networks", "warn_of_streams"]

_CONSUMERS: Final = frozenset({"substation", "meter"})


def warn_of_networks(tables: Mapping[str, Table], report: Report) -> None:
    """Warn of networks whose balances would be `unknown` for good, and say by which reason.

    Those are: consumers without a plant, a plant without consumers, pipes in ground of no temperature, a
    device that stands on no node of a network with pipes, and a pipe that closes a loop, which only what
    needs a tree cannot do with. A network without devices is nobody's mistake: nothing is said of it.

    Parameters
    ----------
    tables : mapping of str to Table
        Those of a site without faults.
    report : Report
        Takes the warnings.
    """
    members: dict[str, list[Row]] = {row.values["id"]: [] for row in tables["network"].rows}
    for row in tables["device"].rows:
        if "network" in row.values and row.values["class"] in {"plant", *_CONSUMERS}:
            members[row.values["network"]].append(row)
    with_pipes = {row.values["network"] for row in tables["pipe"].rows}
    for row in tables["network"].rows:
        name = row.values["id"]
        _warn_of_ends(tables["network"], row, members[name], report)
        if members[name] and name in with_pipes and "ground_c" not in row.values:
            message = (
                f"network {name!r} has pipes and no ground_c, the temperature around them: its heat balances "
                f"will be unknown (no_ground_c)"
            )
            _warn(report, tables["network"], row, "id", message)
    for row in (m for name in sorted(with_pipes) for m in members[name] if "node" not in m.values):
        message = (
            f"node: {row.values['device']!r} stands on no node of network {row.values['network']!r}, which "
            f"has pipes: what needs its way there will be unknown (no_node)"
        )
        _warn(report, tables["device"], row, "node", message)
    _warn_of_loops(tables["pipe"], report)


def warn_of_meters(devices: Table, report: Report) -> None:
    """Warn, in one line, of heat meters of networks without a nominal flow, and say what that costs."""
    heat = {"plant", *_CONSUMERS}
    meters = [row for row in devices.rows if row.values["class"] in heat and "network" in row.values]
    without = [row for row in meters if "qp_m3_h" not in row.values]
    if without:
        first = without[0]
        message = (
            f"qp_m3_h: {len(without)} of {len(meters)} plants, substations and meters have none, first "
            f"{first.values['device']!r}: their heat has no uncertainty, a counter that jumps counts as heat "
            f"unless no meter at all could count it, and what it shows first after zeros may stay unknown "
            f"(counter_zero)"
        )
        _warn(report, devices, first, "qp_m3_h", message)


def warn_of_streams(tables: Mapping[str, Table], report: Report) -> None:
    """Warn of yards and offices in streams where nobody looks for what they say.

    The coal of a unit, and the water of its networks, are reckoned where its plants are; its contracts where
    they say. A yard, or all offices of a unit, elsewhere: what they say is kept, and nothing follows from it.

    Parameters
    ----------
    tables : mapping of str to Table
        Those of a site without faults.
    report : Report
        Takes the warnings.
    """
    devices = tables["device"]
    of_plants: dict[str, set[str]] = {}
    offices: dict[str, list[Row]] = {}
    for row in devices.rows:
        if row.values["class"] == "plant":
            of_plants.setdefault(row.values["unit"], set()).add(_stream(row))
        elif row.values["class"] == "office":
            offices.setdefault(row.values["unit"], []).append(row)
    for row in devices.rows:
        home = _home(row.values["unit"], of_plants)
        if row.values["class"] == "yard" and home and _stream(row) != home:
            message = (
                f"stream: {row.values['device']!r} is in {_stream(row)!r}, and the coal of unit "
                f"{row.values['unit']!r} is reckoned in {home!r}, where its plants are: what it says "
                f"counts nowhere, and the unit's stock may stay unknown (no_stock)"
            )
            _warn(report, devices, row, "stream", message)
    of_contracts: dict[str, set[str]] = {}
    for row in tables["contract"].rows:
        of_contracts.setdefault(row.values["unit"], set()).add(_stream(row))
    anywhere = {_stream(row) for rows in offices.values() for row in rows}
    for unit, rows in sorted(offices.items()):
        mine = {_stream(row) for row in rows}
        home = _home(unit, of_plants)
        wanted = [
            ("flushings and surveys" if s == home else "flushings", s, mine)
            for s in sorted(of_plants.get(unit, ()))
        ]
        # Of contracts another unit's office may say what is to be said.
        wanted += [
            ("releases, settlements and corrections", s, anywhere) for s in sorted(of_contracts.get(unit, ()))
        ]
        for what, stream, there in wanted:
            if stream not in there:
                message = (
                    f"stream: no office of unit {unit!r} is in {stream!r}, where its {what} are looked for: "
                    f"what {rows[0].values['device']!r} says of them counts nowhere"
                )
                _warn(report, devices, rows[0], "stream", message)


def _home(unit: str, of_plants: Mapping[str, set[str]]) -> str:
    """Where a unit's coal is reckoned, as `Site.stream_of_unit` has it; empty where it has no plants."""
    plants = of_plants.get(unit, set())
    return unit if unit in plants else min(plants, default="")


def _stream(row: Row) -> str:
    return str(row.values.get("stream") or row.values["unit"])


def _warn(report: Report, table: Table, row: Row, column: str, message: str) -> None:
    report.warnings.append(Fault(table.file, *table.place(row, column), message))


def _warn_of_ends(networks: Table, network: Row, members: list[Row], report: Report) -> None:
    """A network with consumers has a plant, and one with a plant has consumers."""
    plants = sum(m.values["class"] == "plant" for m in members)
    takes = len(members) - plants
    name = network.values["id"]
    if takes and not plants:
        what, reason = f"no plant before its {takes} substations and meters", "no_plant"
    elif plants and not takes:
        what, reason = f"neither substations nor meters behind its {plants} plants", "no_device"
    else:
        return
    message = f"network {name!r} has {what}: its heat and water balances will be unknown ({reason})"
    _warn(report, networks, network, "id", message)


def _warn_of_loops(pipes: Table, report: Report) -> None:
    """The pipe that closes a loop, in the order of the file, of each network."""
    networks: dict[str, Pieces] = {}
    for row in pipes.rows:
        network = row.values["network"]
        pieces = networks.setdefault(network, Pieces())
        if not pieces.join(row.values["from_node"], row.values["to_node"]):
            message = (
                f"pipe: {row.values['pipe']!r} closes a loop in network {network!r}: its balances close, but "
                f"U of its pipes and places of leaks need a tree and will be unknown (loop)"
            )
            _warn(report, pipes, row, "pipe", message)
