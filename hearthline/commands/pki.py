"""`hearthline pki`: certificates of devices and servers, and the broker's files that go with them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
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
    for command in (_init, _issue, _renew, _revoke, _list, _mosquitto, _watch):
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
    renew: Annotated[
        bool,
        typer.Option(
            "--renew", help="Issue another beside a good one; with --site where it ends within 60 days."
        ),
    ] = False,
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

            wanted = sorted(open_site(site).devices)
            names += _due(pki, wanted) if renew else _without(pki, wanted)
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


def _without(pki: Pki, devices: Sequence[str]) -> list[str]:
    has_one = {c.device for c in pki.list()}
    return [name for name in devices if name not in has_one]


def _due(pki: Pki, devices: Sequence[str]) -> list[str]:
    """Those whose newest certificate ends soon; whose certificates are all revoked is left out for good."""
    from hearthline.pki import utc_now
    from hearthline.pki_ends import SOON_DAYS, newest

    end = (utc_now() + timedelta(days=SOON_DAYS)).isoformat()
    ending = {c.device for c in newest(pki.list()) if c.ends < end}
    return [name for name in devices if name in ending]


def _renew(
    directory: _Dir = _DIR,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", help="Names of the broker, where they change; several times."),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long they hold.")] = 825,
) -> None:
    """Make new keys and certificates of the broker and of ingest, by the same authority.

    Devices need nothing new. Start Mosquitto again afterwards; the broker inside `up` and ingest take
    theirs by themselves.

    Example: hearthline pki renew --dir pki
    """
    from hearthline.pki import PkiError
    from hearthline.pki_ends import certificate_of, in_stack, names_of

    pki = _open(directory)
    try:
        for file, names in (("server", name or names_of(directory / "server.pem")), ("ingest", [])):
            pki.renew(file, names, days)
            made = directory / f"{file}.pem"
            typer.echo(f"{made} until {certificate_of(made).not_valid_after_utc:%Y-%m-%d}")
    except (PkiError, OSError) as error:
        raise UsageError(error) from error
    if in_stack(directory):
        typer.echo("then: docker compose up -d --force-recreate mosquitto ingest")


def _revoke(
    devices: Annotated[
        list[str] | None, typer.Argument(help="Names of devices; none signs the list anew.")
    ] = None,
    directory: _Dir = _DIR,
    as_json: _Json = False,
) -> None:
    """Revoke every certificate of some devices, and sign the revocation list anew.

    A broker inside `up` takes the new list within seconds; Mosquitto has to be started again.

    Example: hearthline pki revoke --dir pki meter-17
    """
    from hearthline.pki import PkiError
    from hearthline.pki_ends import in_stack

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
        if in_stack(directory):
            typer.echo("then: docker compose up -d --force-recreate mosquitto")


def _list(directory: _Dir = _DIR, as_json: _Json = False) -> None:
    """List every certificate of the devices' authority, and until when those of servers and all else hold.

    What ends within 60 days is said on stderr, with the command that makes it anew. What cannot be read is
    said after all else.

    Example: hearthline pki list --dir pki
    """
    from hearthline.pki import PkiError, utc_now
    from hearthline.pki_ends import Ending, ends_of_files, warnings

    pki, now = _open(directory), utc_now()
    try:
        known = pki.list()
    except PkiError as error:
        raise UsageError(error) from error
    files, failed = ends_of_files(directory)
    revoked = None
    try:
        revoked = Ending("revocation list", pki.crl_ends(), "hearthline pki revoke")
    except PkiError as error:
        failed.append(error)
    ending = [*files, revoked] if revoked is not None else files
    if as_json:
        typer.echo(
            json.dumps({
                "certificates": [{**asdict(c), "state": c.state(now)} for c in known],
                "revocation_list_until": revoked and revoked.ends.isoformat(),
                "files_until": {one.name: one.ends.isoformat() for one in files},
            })
        )  # fmt: skip
    else:
        for certificate in known:
            typer.echo(
                f"{certificate.device}\t{certificate.state(now)}\t{certificate.ends}\t{certificate.serial}"
            )
        for one in ending:
            typer.echo(f"{one.name} until {one.ends:%Y-%m-%d}")
        for line in warnings(ending, known, now):
            print(line, file=sys.stderr)  # noqa: T201
    if failed:
        raise UsageError("\n".join(map(str, failed)))


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
