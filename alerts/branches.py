"""Which branch of its network each device hangs on: what its alarms may share a cause with."""

from __future__ import annotations

from collections.abc import Mapping

from models.site import Site

__all__ = ["branches_of"]


def branches_of(site: Site) -> dict[str, str]:
    """By device ``branch:network/node``, where the network is known as pipes, else ``network:`` and its id.

    The branches of a network begin where the way from its plant first parts; what lies before is the
    network's. A device without a network has none.
    """
    out: dict[str, str] = {}
    for network in site.networks:
        heads = _heads(site, network)
        for device in site.devices.values():
            if device.network == network:
                head = heads.get(device.node or "")
                out[device.device] = f"branch:{network}/{head}" if head else f"network:{network}"
    return out


def _heads(site: Site, network: str) -> Mapping[str, str]:
    """By node the first node of its branch."""
    near: dict[str, set[str]] = {}
    for pipe in site.pipes.values():
        if pipe.network == network:
            near.setdefault(pipe.from_node, set()).add(pipe.to_node)
            near.setdefault(pipe.to_node, set()).add(pipe.from_node)
    plants = (d for d in site.devices.values() if d.network == network and d.device_class == "plant")
    trunk = {d.node for d in plants if d.node in near}
    if not trunk:
        return {}
    ahead = sorted(set().union(*(near[n] for n in trunk)) - trunk)
    while len(ahead) == 1:
        trunk.add(ahead[0])
        ahead = sorted(near[ahead[0]] - trunk)
    heads: dict[str, str] = {}
    for head in ahead:
        waiting = [head]
        while waiting:
            node = waiting.pop()
            if node not in heads and node not in trunk:
                heads[node] = head
                waiting += sorted(near[node])
    return heads
