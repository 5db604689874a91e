"""Rules between the rows of a site: each looks only at what is no fault already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from models.site_pieces import Pieces
from models.site_table import Column, Report, Row, Table

__all__ = ["check_rules", "check_unique"]


def check_unique(table: Table, column: str, report: Report) -> None:
    """Every value of `column` stands in one row only; the later ones are faults."""
    first: dict[Any, int] = {}
    for row, value in _with(table, column):
        if value in first:
            message = f"expected it once, got {value!r} again (first in line {first[value]})"
            report.cell(table, row, column, message)
        else:
            first[value] = row.line


def check_rules(tables: Mapping[str, Table], specs: Mapping[str, tuple[Column, ...]], report: Report) -> None:
    """Check references between tables and the rules between the values of rows.

    Parameters
    ----------
    tables : mapping of str to Table
    specs : mapping of str to tuple of Column
        Columns of each table.
    report : Report
        Takes the faults.
    """
    for name, table in tables.items():
        for column in specs[name]:
            if column.refers:
                _references(table, column, tables[column.refers], report)
    _positions(tables["device"], report)
    _pipe_ends(tables["pipe"], report)
    _nodes(tables["device"], tables["pipe"], report)
    _joined(tables["device"], tables["pipe"], report)
    _one_stream(tables["device"], report)
    _vehicles(tables["vehicle"], tables["device"], report)


def _with(table: Table, column: str) -> Iterator[tuple[Row, Any]]:
    """Rows that have a value in `column` without a fault, and the value."""
    for row in table.rows:
        value = row.values.get(column)
        if value is not None and column not in row.bad:
            yield row, value


def _references(table: Table, column: Column, target: Table, report: Report) -> None:
    if not target.complete:
        return
    for row, value in _with(table, column.name):
        if value not in target.named:
            report.cell(table, row, column.name, f"expected a {target.name} of {target.file}, got {value!r}")


def _positions(devices: Table, report: Report) -> None:
    """A latitude has a longitude."""
    for one, other in (("lat_deg", "lon_deg"), ("lon_deg", "lat_deg")):
        for row, _ in _with(devices, one):
            if other not in row.values and other not in row.bad:
                report.cell(devices, row, other, f"expected a value beside {one}, got an empty cell")


def _pipe_ends(pipes: Table, report: Report) -> None:
    """A pipe leads from one node to another."""
    for row, node in _with(pipes, "to_node"):
        if "from_node" not in row.bad and row.values.get("from_node") == node:
            report.cell(pipes, row, "to_node", f"expected another node than from_node, got {node!r} for both")


def _nodes(devices: Table, pipes: Table, report: Report) -> None:
    """A device stands at an end of a pipe of its network, where that has pipes."""
    if not pipes.whole:
        return
    nodes: dict[str, set[str]] = {}
    for row in pipes.rows:
        nodes.setdefault(row.values["network"], set()).update(
            (row.values["from_node"], row.values["to_node"])
        )
    for row, node in _with(devices, "node"):
        network = row.values.get("network")
        if "network" not in row.bad and network in nodes and node not in nodes[network]:
            message = f"expected an end of a pipe of network {network!r}, got {node!r}"
            report.cell(devices, row, "node", message)
        elif "network" not in row.bad and network is not None and network not in nodes:
            other = next((name for name, ends in nodes.items() if node in ends), None)
            if other is not None:
                message = f"expected a node of network {network!r}, got {node!r} on pipes of {other!r}"
                report.cell(devices, row, "node", message)


def _joined(devices: Table, pipes: Table, report: Report) -> None:
    """Pipes of a network hang together, and each piece has a plant where one is known to stand on any."""
    if not (pipes.whole and devices.whole):
        return
    networks: dict[str, list[Row]] = {}
    for row in pipes.rows:
        networks.setdefault(row.values["network"], []).append(row)
    for network, rows in networks.items():
        plants = {
            row.values["node"]
            for row, name in _with(devices, "network")
            if name == network and row.values["class"] == "plant" and "node" in row.values
        }
        pieces = Pieces()
        for row in rows:
            pieces.join(row.values["from_node"], row.values["to_node"])
        ends = {row.values[end] for row in rows for end in ("from_node", "to_node")}
        fed = {pieces.of(node) for node in plants & ends} or {pieces.of(rows[0].values["from_node"])}
        for row in rows:
            node = row.values["from_node"]
            if pieces.of(node) not in fed:
                fed.add(pieces.of(node))
                names = ", ".join(sorted(plants))
                where = f"a plant ({names})" if plants else "the first pipe"
                message = f"expected pipes that join {node!r} to {where} of network {network!r}, got none"
                report.cell(pipes, row, "from_node", message)


def _one_stream(devices: Table, report: Report) -> None:
    """The devices of a network share one stream: the most frequent is taken as meant."""
    members: dict[str, list[tuple[Row, str]]] = {}
    for row, network in _with(devices, "network"):
        stream = row.values.get("stream") or row.values.get("unit")
        faulty = row.bad & (
            {devices.key, "stream"} if "stream" in row.values else {devices.key, "stream", "unit"}
        )
        if stream is not None and not faulty:
            members.setdefault(network, []).append((row, stream))
    for network, rows in members.items():
        meant = Counter(stream for _, stream in rows).most_common(1)[0][0]
        for row, stream in rows:
            if stream != meant:
                message = f"expected {meant!r} as for other devices of network {network!r}, got {stream!r}"
                report.cell(devices, row, "stream" if "stream" in row.values else "unit", message)


def _vehicles(vehicles: Table, devices: Table, report: Report) -> None:
    """A plate's device is a truck, and a truck weighs less empty than full."""
    classes = {
        row.values["device"]: row.values.get("class")
        for row in devices.rows
        if "device" in row.values and "class" not in row.bad
    }
    for row, device in _with(vehicles, "device"):
        device_class = classes.get(device)
        if device_class not in (None, "truck"):
            message = f"expected a device of class truck, got {device!r} of class {device_class}"
            report.cell(vehicles, row, "device", message)
    for row, rated in _with(vehicles, "rated_kg"):
        tare = row.values.get("tare_kg")
        if tare is not None and rated <= tare:
            message = f"expected the largest gross, above the tare of {tare:g}, got {rated:g}"
            report.cell(vehicles, row, "rated_kg", message)
