"""`hearthline schema`: the JSON Schema of every payload."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from hearthline.cli import UsageError


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def schema(
        kind: Annotated[
            str | None, typer.Argument(help="Only this kind of payload, such as telemetry.")
        ] = None,
        *,
        as_json: Annotated[bool, typer.Option("--json", help="One line, for programs.")] = False,
    ) -> None:
        """Print the JSON Schema (2020-12) of the MQTT payloads: one object by kind, or that of KIND alone.

        Example: hearthline schema telemetry --json > telemetry.schema.json
        """
        schemas = payload_schemas()
        if kind is not None and kind not in schemas:
            msg = f"KIND: expected one of {', '.join(schemas)}, got {kind!r}"
            raise UsageError(msg)
        shown = schemas if kind is None else schemas[kind]
        typer.echo(json.dumps(shown, ensure_ascii=False, indent=None if as_json else 2))


def payload_schemas() -> dict[str, dict[str, object]]:
    """The JSON Schema of each kind of payload, from the models that check them."""
    from models.wire import PAYLOADS

    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {kind: dialect | payload.model_json_schema(by_alias=True) for kind, payload in PAYLOADS.items()}
