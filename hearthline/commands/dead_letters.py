"""`hearthline dead-letters`: what was refused, why, and giving it in again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hearthline.cli import UsageError
from hearthline.client import ServerError
from hearthline.series_source import DataDir, Url, fail, server, source

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from store.protocol import Select

_MEASUREMENT: Final = "dead_letter"
_SHOWN: Final = ("device", "topic", "boot", "seq", "detail", "state")
_FIELDS: Final = ("key", "window_start", "reason", "state", "device", "boot", "seq", "topic", "detail")
_NAMES: Final = {"key": "id", "window_start": "at"}
_PAYLOAD_SHOWN: Final = 4000
_NO_FRAME: Final = "frame"
"""Reason of a record of the journal that is no frame."""

AsJson = Annotated[bool, typer.Option("--json", help="JSON, for programs.")]
Letter = Annotated[str, typer.Argument(metavar="ID", help="Id of a dead letter, as `list` shows it.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True, help="Messages that were refused: list them, show or retry one."
    )
    app.add_typer(group, name="dead-letters")
    _add_list(group)
    _add_show(group)
    _add_retry(group)


def _add_list(group: typer.Typer) -> None:
    @group.command("list")
    def list_letters(
        reason: Annotated[str | None, typer.Option(help="Only this reason, such as future.")] = None,
        limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 200,
        data_dir: DataDir = None,
        url: Url = None,
        *,
        everything: Annotated[bool, typer.Option("--all", help="Those that were retried too.")] = False,
        as_json: AsJson = False,
    ) -> None:
        """Print refused messages, the newest first, without their payloads.

        Example: hearthline dead-letters list --data-dir hearthline-data
        """
        import pyarrow.compute as pc

        from store.export import text_lines

        if reason is not None:
            _check_reason(reason)
        with source(data_dir, url) as select:
            table = _letters(select, fields=_SHOWN, newest_first=True)
        if not everything and table.num_rows:
            table = table.filter(pc.equal(table["state"], "open"))
        if reason is not None:
            table = table.filter(pc.equal(table["reason"], reason))
        more = table.num_rows - limit
        table = table.slice(0, limit).select([f for f in _FIELDS if f in table.column_names])
        if as_json:
            typer.echo(json.dumps([_row(row) for row in table.to_pylist()], ensure_ascii=False))
            return
        table = table.rename_columns([_NAMES.get(name, name) for name in table.column_names])
        for line in text_lines(table) if table.num_rows else ["no dead letters"]:
            typer.echo(line)
        if more > 0:
            typer.echo(f"{more} more; --limit shows them.", err=True)


def _add_show(group: typer.Typer) -> None:
    @group.command()
    def show(letter: Letter, data_dir: DataDir = None, url: Url = None, *, as_json: AsJson = False) -> None:
        """Print one refused message whole.

        Example: hearthline dead-letters show heating1:17:0 --data-dir hearthline-data
        """
        from store.export import printable
        from store.params import time_text

        with source(data_dir, url) as select:
            found = _letters(select, keys=(letter,)).to_pylist()
        if not found:
            fail(f"expected the id of a dead letter, got {letter!r}, which is none")
        row = _row(found[0])
        if as_json:
            typer.echo(json.dumps(row, ensure_ascii=False))
            return
        row["at"] = time_text(row.pop("at"))
        payload = row.pop("payload", "")
        for name, value in row.items():
            typer.echo(f"{name + ':':<9} {printable(str(value))}")
        cut = (
            f" … {len(payload)} characters in all; --json gives them" if len(payload) > _PAYLOAD_SHOWN else ""
        )
        typer.echo(f"{'payload:':<9} {printable(payload[:_PAYLOAD_SHOWN])}{cut}")


def _add_retry(group: typer.Typer) -> None:
    @group.command()
    def retry(
        letters: Annotated[list[str], typer.Argument(metavar="ID…", help="Ids, as `list` shows them.")],
        data_dir: DataDir = None,
        url: Url = None,
        *,
        as_json: AsJson = False,
    ) -> None:
        """Give refused messages in again, once their cause is mended. A server must be running.

        Example: hearthline dead-letters retry heating1:17:0 --data-dir hearthline-data
        """
        asked = server(data_dir, url)
        if asked is None:
            fail(f"expected a running server on {data_dir}, got none: only it can take messages in")
        retried, refused = [], {}
        for letter in letters:
            try:
                asked.retry(letter)
            except ServerError as error:
                refused[letter] = str(error)
                typer.echo(f"hearthline: {letter}: {error}", err=True)
            else:
                retried.append(letter)
                if not as_json:
                    typer.echo(f"{letter} retried")
        if as_json:
            typer.echo(json.dumps({"retried": retried, "refused": refused}, ensure_ascii=False))
        if refused:
            raise typer.Exit(1)


def _check_reason(reason: str) -> None:
    from ingest.messages import Reason
    from models.frame import SEQ_REUSED

    reasons = sorted([*Reason, SEQ_REUSED, _NO_FRAME])
    if reason not in reasons:
        msg = f"--reason: expected one of {', '.join(reasons)}, got {reason[:80]!r}"
        raise UsageError(msg)


def _letters(select: Callable[[Select], pa.Table], **asked: Any) -> pa.Table:
    from store.protocol import Select

    return select(Select(_MEASUREMENT, **asked))


def _row(row: dict[str, Any]) -> dict[str, Any]:
    """A letter under the names that people know: `id` and `at` for the key and the time."""
    hidden = ("window_ms", "coverage", "status", "revision", "model")
    return {_NAMES.get(n, n): v for n, v in row.items() if v is not None and n not in hidden}
