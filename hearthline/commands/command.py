"""`hearthline command`: tell one device's collector something, and wait until it has obeyed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hearthline.cli import UsageError
from hearthline.series_source import fail

if TYPE_CHECKING:
    from hearthline.settings import Settings
    from ingest.endpoint import Endpoint
    from models.wire import Command

_DOINGS: Final = ("resend", "set-interval", "diagnose")


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def command(
        device: Annotated[str, typer.Argument(help="Name of the device.")],
        do: Annotated[str, typer.Argument(help="resend, set-interval or diagnose.")],
        interval_s: Annotated[
            float | None, typer.Option(help="Of set-interval: seconds between readings.")
        ] = None,
        site: Annotated[Path | None, typer.Option(help="Site directory.")] = None,
        mqtt: Annotated[str | None, typer.Option(help="Broker by URL.")] = None,
        data_dir: Annotated[
            Path | None, typer.Option(help="Data directory of a server with the broker inside.")
        ] = None,
        config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
        wait_s: Annotated[float, typer.Option(min=0, help="How long to wait for its answer.")] = 15.0,
        as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
    ) -> None:
        """Have a collector send again, read a device more or less often, or say how it fares.

        The collector obeys a command once, while it is new, and its state says so. The broker inside `up`
        is found, and opened, by who may read the server's data directory.

        Example: hearthline command meter-17 diagnose --site site --mqtt mqtt://127.0.0.1:1883
        """
        from hearthline.settings import load_settings
        from hearthline.site_dir import open_site

        settings = load_settings({"site": site, "mqtt": mqtt, "data_dir": data_dir}, config)
        if settings.site is None:
            raise UsageError("site: expected a site directory in --site or HEARTHLINE_SITE, got none")
        registry = open_site(settings.site)
        if device not in registry.devices:
            raise UsageError(f"device: expected a device of {settings.site}, got {device!r}")
        known = registry.devices[device]
        said = _make(do, interval_s)
        place = f"hearthline/v1/{registry.region_of(known)}/{known.unit}/{device}"
        answer = _say(_broker(settings), place, said, wait_s)
        if answer is None:
            typer.echo(f"{device}: expected it to obey within {wait_s:g} s, got no answer", err=True)
            raise typer.Exit(1)
        if as_json:
            typer.echo(json.dumps(answer))
        elif "diagnosis" in answer:
            for name, value in answer["diagnosis"].items():
                typer.echo(f"{name}: {value}")
        else:
            typer.echo(f"{device}: obeyed {do}")


def _broker(settings: Settings) -> Endpoint:
    """The broker that was named, or the one inside the server of the data directory."""
    from hearthline.client import broker_inside

    if settings.mqtt is not None:
        return settings.endpoint()
    found = broker_inside(settings.data_dir)
    if found is None:
        raise UsageError(
            "mqtt: expected a broker in --mqtt or HEARTHLINE_MQTT, or in --data-dir a server that runs with "
            f"the broker inside, got none in {settings.data_dir}"
        )
    return found


def _make(do: str, interval_s: float | None) -> Command:
    import secrets

    from pydantic import ValidationError

    from ingest.clock import wall_clock
    from models.wire import Command

    if do not in _DOINGS:
        raise UsageError(f"do: expected {_DOINGS[0]}, {_DOINGS[1]} or {_DOINGS[2]}, got {do[:80]!r}")
    if do != "set-interval" and interval_s is not None:
        raise UsageError(f"--interval-s: expected it of set-interval alone, got it of {do}")
    given = {"id": secrets.token_hex(12), "at": wall_clock(), "do": do}
    try:
        return Command.model_validate(given | ({} if interval_s is None else {"interval_s": interval_s}))
    except ValidationError as error:  # of what is left only the interval can be wrong
        got = "none" if interval_s is None else f"{interval_s:g}"
        raise UsageError(f"--interval-s: expected 1 to 604,800 s between readings, got {got}") from error


def _say(endpoint: Endpoint, place: str, command: Command, wait_s: float) -> dict[str, Any] | None:
    """Publish a command; the first state that says it was obeyed, None if there is none in time."""
    talk = _Talk(endpoint, place, command)
    try:
        talk.client.connect(endpoint.host, endpoint.port)
    except OSError as error:
        fail(f"mqtt: expected a broker at {endpoint}, got: {error}")
    talk.client.loop_start()
    try:
        talk.over.wait(wait_s)
    finally:
        talk.client.disconnect()
        talk.client.loop_stop()
    if talk.answer is None and talk.refused:
        raise UsageError(f"mqtt: expected {endpoint} to let it in and hear of {place}, got: {talk.refused}")
    return talk.answer


class _Talk:
    """One command at a broker: listened for first, then said."""

    def __init__(self, endpoint: Endpoint, place: str, command: Command):
        import threading

        import paho.mqtt.client as mqtt
        from paho.mqtt.enums import CallbackAPIVersion

        self._place, self._command = place, command
        self.answer: dict[str, Any] | None = None
        self.refused = ""
        self.over = threading.Event()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"hearthline-command-{command.id}")
        if endpoint.username is not None:
            self.client.username_pw_set(endpoint.username, endpoint.password)
        if endpoint.tls:
            self.client.tls_set_context(endpoint.tls_context())
        self.client.on_connect = self._on_connect
        self.client.on_subscribe = self._on_subscribe
        self.client.on_message = self._on_message
        self.client.on_disconnect = self._on_disconnect

    def _end(self, why: str) -> None:
        self.refused = self.refused or why
        self.over.set()

    def _on_connect(self, client: Any, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if code.is_failure:
            self._end(str(code))
        else:
            client.subscribe(f"{self._place}/state", 1)

    def _on_subscribe(self, client: Any, _data: Any, _mid: int, codes: list[Any], _properties: Any) -> None:
        if any(code.is_failure for code in codes):
            self._end("a subscription that is not allowed")
        else:
            client.publish(f"{self._place}/command", self._command.model_dump_json(exclude_none=True), qos=1)

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        state = json.loads(message.payload)
        if isinstance(state, dict) and state.get("command") == self._command.id:
            self.answer = state
            self.over.set()

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if code.is_failure:
            self._end(f"{code}; the broker inside a server with --pki is opened by --data-dir, not by --mqtt")
