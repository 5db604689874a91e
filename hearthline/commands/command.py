"""`hearthline command`: tell one device's collector something, and wait until it has obeyed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hearthline.cli import UsageError

if TYPE_CHECKING:
    from ingest.endpoint import Endpoint
    from models.wire import Command


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
        config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
        wait_s: Annotated[float, typer.Option(min=0, help="How long to wait for its answer.")] = 15.0,
        as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
    ) -> None:
        """Have a collector send again, read a device more or less often, or say how it fares.

        The collector obeys a command once, while it is new, and its state says so. At a broker inside
        `up` that has a door for devices, only that process may say commands.

        Example: hearthline command meter-17 diagnose --site site --mqtt mqtt://127.0.0.1:1883
        """
        from hearthline.settings import load_settings
        from hearthline.site_dir import open_site

        settings = load_settings({"site": site, "mqtt": mqtt}, config)
        if settings.site is None:
            raise UsageError("site: expected a site directory in --site or HEARTHLINE_SITE, got none")
        registry = open_site(settings.site)
        if device not in registry.devices:
            raise UsageError(f"device: expected a device of {settings.site}, got {device!r}")
        known = registry.devices[device]
        said = _make(do, interval_s)
        place = f"hearthline/v1/{registry.region_of(known)}/{known.unit}/{device}"
        answer = _say(settings.endpoint(), place, said, wait_s)
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


def _make(do: str, interval_s: float | None) -> Command:
    import secrets

    from pydantic import ValidationError

    from ingest.clock import wall_clock
    from models.wire import Command

    given = {"id": secrets.token_hex(12), "at": wall_clock(), "do": do}
    try:
        return Command.model_validate(given | ({} if interval_s is None else {"interval_s": interval_s}))
    except ValidationError as error:
        fault = error.errors()[0]
        name = ".".join(str(part) for part in fault["loc"]) or "command"
        raise UsageError(f"{name}: {fault['msg']}, got {fault['input']!r:.80}") from error


def _say(endpoint: Endpoint, place: str, command: Command, wait_s: float) -> dict[str, Any] | None:
    """Publish a command; the first state that says it was obeyed, None if there is none in time."""
    import threading

    import paho.mqtt.client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion

    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"hearthline-command-{command.id}")
    if endpoint.username is not None:
        client.username_pw_set(endpoint.username, endpoint.password)
    if endpoint.tls:
        client.tls_set_context(endpoint.tls_context())
    answers: list[dict[str, Any]] = []
    heard = threading.Event()

    def on_connect(*_: Any) -> None:
        client.subscribe(f"{place}/state", 1)

    def on_subscribe(*_: Any) -> None:
        client.publish(f"{place}/command", command.model_dump_json(exclude_none=True), qos=1)

    def on_message(_client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        state = json.loads(message.payload)
        if isinstance(state, dict) and state.get("command") == command.id:
            answers.append(state)
            heard.set()

    client.on_connect = on_connect
    client.on_subscribe = on_subscribe
    client.on_message = on_message
    try:
        client.connect(endpoint.host, endpoint.port)
    except OSError as error:
        raise UsageError(f"mqtt: expected a broker at {endpoint}, got: {error}") from error
    client.loop_start()
    try:
        heard.wait(wait_s)
    finally:
        client.disconnect()
        client.loop_stop()
    return answers[0] if answers else None
