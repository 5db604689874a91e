"""Mosquitto's configuration and access lists, made from a site: each device writes and reads only its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from models.site import Site
from models.wire import ACK, BIRTH, COMMAND, DEATH, ROOT, STATE, TELEMETRY, Topic

__all__ = ["IN_COMPOSE", "Places", "files"]

MAX_PACKET_BYTES: Final = 1_048_576
FROM_DEVICE: Final = (TELEMETRY, BIRTH, STATE, DEATH)
TO_DEVICE: Final = (ACK, COMMAND)

_CONF: Final = """\
# Made by `hearthline pki mosquitto`. Two doors, both by certificate: {port} for devices, {server_port} for
# the server. Mosquitto reads it, its access lists and the revocation list at the start. Start it as the
# owner of the keys: root becomes user `mosquitto`, who may not read them.
per_listener_settings true

persistence true
persistence_location {data}/
autosave_interval 30
log_dest stderr
log_type error
log_type warning
log_type notice
{audit}
# Without a limit Mosquitto takes packets of 256 MB. A payload may have 256 KiB; larger ones up to
# this are passed on, so that ingest can say why it refuses them.
max_packet_size {max_packet}
max_inflight_messages 1000
max_queued_messages 100000
max_queued_bytes 268435456
persistent_client_expiration 14d

listener {port} {address}
tls_version tlsv1.2
certfile {pki}/server.pem
keyfile {pki}/server.key
# Devices have an authority of their own; their certificate's common name is their device name, and
# their client id too: else one could take over another's session.
cafile {pki}/devices-ca.pem
crlfile {pki}/devices.crl.pem
require_certificate true
use_identity_as_username true
use_username_as_clientid true
allow_anonymous false
acl_file {out}/devices.acl
max_connections {most}

listener {server_port} {server_address}
tls_version tlsv1.2
certfile {pki}/server.pem
keyfile {pki}/server.key
cafile {pki}/servers-ca.pem
require_certificate true
use_identity_as_username true
allow_anonymous false
acl_file {out}/server.acl
max_connections 20
"""

_AUDIT: Final = """\
# What it denies Mosquitto says at this level only, among much else: `hearthline pki watch` reads it from
# a pipe and keeps what was denied.
log_type debug
"""


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are on the broker's machine.

    Attributes
    ----------
    pki, out, data : str
        Directories of certificates, of these files and of Mosquitto's database.
    address, server_address : str
        What the two doors listen on.
    port, server_port : int
    most : int
        Devices that may be connected.
    audit : bool
        Whether it says what it denies.
    """

    pki: str
    out: str
    data: str
    address: str = "0.0.0.0"  # noqa: S104  devices come from elsewhere; nobody enters without a certificate
    server_address: str = "127.0.0.1"
    port: int = 8883
    server_port: int = 8884
    most: int = 10_000
    audit: bool = True


IN_COMPOSE: Final = Places(
    pki="/run/secrets",
    out="/mosquitto/config",
    data="/mosquitto/data",
    server_address="0.0.0.0",  # noqa: S104  of its own network, where only ingest is besides
    audit=False,
)
"""Where things are inside the container of docker-compose.yml."""


def files(site: Site, places: Places) -> Mapping[str, str]:
    """The files by name: ``mosquitto.conf``, ``devices.acl``, ``server.acl``."""
    conf = _CONF.format(
        port=places.port,
        server_port=places.server_port,
        address=places.address,
        server_address=places.server_address,
        data=places.data,
        pki=places.pki,
        out=places.out,
        most=places.most,
        max_packet=MAX_PACKET_BYTES,
        audit=_AUDIT if places.audit else "",
    )
    return {
        "mosquitto.conf": conf,
        "devices.acl": "\n".join(_device_lines(site)) + "\n",
        "server.acl": "\n".join(_server_lines()) + "\n",
    }


def _device_lines(site: Site) -> Iterable[str]:
    yield "# Who is not named here may do nothing, whatever the certificate says."
    for name in sorted(site.devices):
        device = site.devices[name]
        region = site.units[device.unit].region
        yield ""
        yield f"user {name}"
        for access, kinds in (("write", FROM_DEVICE), ("read", TO_DEVICE)):
            for kind in kinds:
                yield f"topic {access} {Topic(region, device.unit, name, kind)}"


def _server_lines() -> Iterable[str]:
    yield "# Only ingest acknowledges and commands."
    yield "user ingest"
    for access, kinds in (("read", FROM_DEVICE), ("write", TO_DEVICE)):
        for kind in kinds:
            yield f"topic {access} {ROOT}/+/+/+/{kind}"
