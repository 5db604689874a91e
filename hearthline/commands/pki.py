"""`hearthline pki`: certificates of devices and servers, and the broker's files that go with them."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hearthline.cli import UsageError

if TYPE_CHECKING:
    from hearthline.pki import Pki

_Dir = Annotated[Path, typer.Option("--dir", help="Directory of keys and certificates.")]
_Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
_DIR = Path("pki")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True, help="Certificates of devices and servers.", rich_markup_mode=None
    )
    app.add_typer(group, name="pki")
    for command in (_init, _issue, _revoke, _list, _mosquitto, _watch):
        group.command(name=command.__name__[1:])(command)


def _open(directory: Path) -> Pki:
    from hearthline.pki import Pki, utc_now

    return Pki(directory, utc_now)


def _init(
    name: Annotated[list[str], typer.Option("--name", help="Name or address of the broker; several times.")],
    directory: _Dir = _DIR,
    days: Annotated[
        int, typer.Option(min=1, max=3650, help="How long the broker's certificate holds.")
    ] = 825,
) -> None:
    """Make the authorities of devices and of servers, and the broker's certificate.

    Keep the .key files of both authorities where only you read them.

    Example: hearthline pki init --dir pki --name broker.example --name 10.0.0.5
    """
    from hearthline.pki import PkiError

    try:
        _open(directory).init(name, days)
    except (PkiError, OSError, ValueError) as error:
        raise UsageError(error) from error
    typer.echo(f"authorities of devices and servers in {directory.resolve()}")


def _issue(
    devices: Annotated[list[str] | None, typer.Argument(help="Names of devices.")] = None,
    directory: _Dir = _DIR,
    site: Annotated[Path | None, typer.Option(help="Every device of this site that has none yet.")] = None,
    csr: Annotated[
        Path | None, typer.Option(help="Signing request of one device that keeps its key.")
    ] = None,
    renew: Annotated[bool, typer.Option("--renew", help="Issue another beside a good one.")] = False,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long they hold.")] = 825,
    as_json: _Json = False,
) -> None:
    """Issue certificates that name devices.

    Example: hearthline pki issue --dir pki --site site
    """
    from hearthline.pki import PkiError

    names = list(devices or [])
    pki = _open(directory)
    try:
        if site is not None:
            from hearthline.site_dir import open_site

            has_one = {c.device for c in pki.list()}
            names += [name for name in sorted(open_site(site).devices) if name not in has_one]
        elif not names:
            raise UsageError("devices: expected names of devices or --site, got neither")
        if csr is not None and len(names) != 1:
            raise UsageError(f"--csr: expected one device, got {len(names)}")
        issued = [pki.issue(name, days, csr=csr, renew=renew) for name in names]
    except (PkiError, OSError) as error:
        raise UsageError(error) from error
    if as_json:
        typer.echo(json.dumps([asdict(c) for c in issued]))
        return
    for certificate in issued:
        typer.echo(
            f"{certificate.device}: {directory / 'devices' / certificate.device}.pem until {certificate.ends}"
        )


def _revoke(
    devices: Annotated[
        list[str] | None, typer.Argument(help="Names of devices; none signs the list anew.")
    ] = None,
    directory: _Dir = _DIR,
    as_json: _Json = False,
) -> None:
    """Revoke every certificate of some devices, and sign the revocation list anew.

    A broker inside `up` takes the new list within seconds; Mosquitto has to be restarted.

    Example: hearthline pki revoke --dir pki meter-17
    """
    from hearthline.pki import PkiError

    pki = _open(directory)
    try:
        gone = pki.revoke(devices or [])
        ends = pki.crl_ends()
    except (PkiError, OSError) as error:
        raise UsageError(error) from error
    if as_json:
        typer.echo(json.dumps([asdict(c) for c in gone]))
    else:
        typer.echo(f"{len(gone)} certificates revoked; the list holds until {ends:%Y-%m-%d}")


def _list(directory: _Dir = _DIR, as_json: _Json = False) -> None:
    """List every certificate of the devices' authority, and until when the revocation list holds.

    Example: hearthline pki list --dir pki
    """
    from hearthline.pki import PkiError, utc_now

    pki, now = _open(directory), utc_now()
    try:
        known, ends = pki.list(), pki.crl_ends()
    except (PkiError, OSError) as error:
        raise UsageError(error) from error
    if as_json:
        shown = [{**asdict(c), "state": c.state(now)} for c in known]
        typer.echo(json.dumps({"certificates": shown, "revocation_list_until": ends.isoformat()}))
        return
    for certificate in known:
        typer.echo(
            f"{certificate.device}\t{certificate.state(now)}\t{certificate.ends}\t{certificate.serial}"
        )
    typer.echo(f"revocation list until {ends:%Y-%m-%d}")
    if (ends - now).days < 60:
        print("sign it anew with: hearthline pki revoke", file=sys.stderr)  # noqa: T201


def _mosquitto(
    site: Annotated[Path, typer.Option(help="Site directory.")],
    out: Annotated[Path, typer.Option(help="Where the files go.")],
    directory: _Dir = _DIR,
    address: Annotated[str, typer.Option(help="What devices reach.")] = "0.0.0.0",  # noqa: S104
    port: Annotated[int, typer.Option(min=1, max=65_535, help="For devices.")] = 8883,
    server_address: Annotated[str, typer.Option(help="What the server reaches.")] = "127.0.0.1",
    server_port: Annotated[int, typer.Option(min=1, max=65_535, help="For the server.")] = 8884,
    data: Annotated[
        Path | None, typer.Option(help="Mosquitto's database; beside the files unless set.")
    ] = None,
    audit: Annotated[
        bool, typer.Option(help="Have it say what it denies, for `hearthline pki watch`.")
    ] = True,
    compose: Annotated[
        bool, typer.Option("--compose", help="For the container of docker-compose.yml; ignores the rest.")
    ] = False,
) -> None:
    """Write Mosquitto's configuration and access lists for a site.

    Example: hearthline pki mosquitto --dir pki --site site --out /etc/mosquitto/hearthline
    """
    from hearthline.mosquitto_files import IN_COMPOSE, Places, files
    from hearthline.site_dir import open_site

    places = Places(
        pki=str(directory.resolve()),
        out=str(out.resolve()),
        data=str((data or out / "data").resolve()),
        address=address,
        port=port,
        server_address=server_address,
        server_port=server_port,
        audit=audit,
    )
    try:
        (out if compose else Path(places.data)).mkdir(parents=True, exist_ok=True)
        for name, text in files(open_site(site), IN_COMPOSE if compose else places).items():
            (out / name).write_text(text, encoding="utf-8")
            if compose:  # the container's user is none of this machine; there is no secret in them
                (out / name).chmod(0o644)
        if compose:
            out.chmod(0o755)
    except OSError as error:
        raise UsageError(f"--out: expected a writable directory, got {out}: {error.strerror}") from error
    conf = out.resolve() / "mosquitto.conf"
    typer.echo(f"{out}: mounted by docker-compose.yml" if compose else f"start it with: mosquitto -c {conf}")


_DETAILS = (" PUBLISH ", " PUBACK ", " PING", " SUB", "Sending ", "Received ", ": \t", "will message")
"""What Mosquitto says of every client and message at level debug; topics stand on lines of their own."""


def _watch(
    audit: Annotated[Path, typer.Option(help="File that what was denied is added to.")] = Path("audit.jsonl"),
) -> None:
    """Read Mosquitto's log from a pipe, keep what it denied, and pass on what is no detail.

    Example: mosquitto -c mosquitto.conf 2>&1 | hearthline pki watch --audit audit.jsonl
    """
    from hearthline.audit import AuditLog, denied_in
    from ingest.clock import wall_clock

    log = AuditLog(audit, wall_clock)
    for line in sys.stdin:
        denied = denied_in(line)
        if denied is not None:
            log(denied)
        elif not any(word in line for word in _DETAILS):
            print(line, end="", flush=True)  # noqa: T201
