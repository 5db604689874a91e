"""`hearthline alarms`: what stands, what is done about it, and what rules make of the past."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from hearthline.cli import UsageError
from hearthline.client import ServerError
from hearthline.series_source import DataDir, Url, fail, server, source

_COLUMNS: Final = (
    "priority", "severity", "state", "subject", "code", "since", "raised", "until", "owner",
    "acknowledged_by", "shelved_until", "suppressed", "id",
)  # fmt: skip

AsJson = Annotated[bool, typer.Option("--json", help="JSON, for programs.")]
AlarmId = Annotated[str, typer.Argument(metavar="ID", help="Id of an alarm, as `list` shows it.")]
Who = Annotated[str, typer.Option("--who", help="Your name: it stands in the alarm's history.")]
Reason = Annotated[str, typer.Option("--reason", help="Why.")]
Hours = Annotated[float, typer.Option("--hours", min=0.1, max=720, help="For how long.")]
SiteDir = Annotated[Path, typer.Option("--site", help="Site directory; its alerts.toml are the rules.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Alarms: list and handle them, try rules on the past.")
    app.add_typer(group, name="alarms")
    _add_list(group)
    _add_deeds(group)
    _add_maintenance(group)
    _add_unsent(group)
    _add_replay(group)
    _add_report(group)


def _add_list(group: typer.Typer) -> None:
    @group.command("list")
    def list_alarms(
        data_dir: DataDir = None,
        url: Url = None,
        *,
        everything: Annotated[bool, typer.Option("--all", help="Closed ones too.")] = False,
        as_csv: Annotated[bool, typer.Option("--csv", help="CSV, for spreadsheets.")] = False,
        as_json: AsJson = False,
    ) -> None:
        """Print open alarms, what matters most first.

        Example: hearthline alarms list --data-dir hearthline-data
        """
        from store.protocol import Select

        with source(data_dir, url) as select:
            rows = select(Select("alarm" if everything else "alarm_open")).to_pylist()
        rows.sort(key=lambda r: (r["priority"], -r["since"]))
        if as_json:
            typer.echo(json.dumps([_full(r) for r in rows], ensure_ascii=False))
        elif as_csv:
            _csv([_short(r) for r in rows])
        else:
            _table([_short(r) for r in rows])


def _full(row: dict[str, Any]) -> dict[str, Any]:
    said = {"id": row.pop("key"), **row}
    for name in ("evidence", "comments"):
        said[name] = json.loads(said[name] or "null")
    return {n: v for n, v in said.items() if v is not None}


def _short(row: dict[str, Any]) -> dict[str, Any]:
    from store.params import time_text

    shown = {"id": row["key"], **row}
    for name in ("since", "raised", "until", "shelved_until"):
        shown[name] = "" if shown[name] is None else time_text(shown[name])
    return {name: "" if shown[name] is None else str(shown[name]) for name in _COLUMNS}


def _csv(rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa

    from store.export import write_csv

    sys.stdout.flush()
    empty = dict.fromkeys(_COLUMNS, "")
    write_csv(pa.Table.from_pylist(rows or [empty]).slice(0, len(rows)), sys.stdout.buffer)


def _table(rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa

    from store.export import text_lines

    for line in text_lines(pa.Table.from_pylist(rows)) if rows else ["no open alarms"]:
        typer.echo(line)


def _act(data_dir: Path | None, url: str | None, **asked: Any) -> None:
    asked_of = server(data_dir, url)
    if asked_of is None:
        fail(f"expected a running server on {data_dir}, got none: it keeps the alarms")
    try:
        asked_of.act(asked)
    except ServerError as error:
        fail(error)
    typer.echo("done")


def _add_deeds(group: typer.Typer) -> None:
    @group.command()
    def ack(alarm: AlarmId, who: Who, data_dir: DataDir = None, url: Url = None) -> None:
        """Acknowledge an alarm: you have seen it and see to it.

        Example: hearthline alarms ack sub-1:pump_trip:1767225600000 --who Li --data-dir hearthline-data
        """
        _act(data_dir, url, alarm=alarm, do="acknowledge", who=who)

    @group.command()
    def shelve(
        alarm: AlarmId, who: Who, reason: Reason, hours: Hours, data_dir: DataDir = None, url: Url = None
    ) -> None:
        """Put an alarm aside for a time, with the reason.

        Example: hearthline alarms shelve sub-1:air:0 --who Li --reason "bled today" --hours 8 --data-dir d
        """
        _act(data_dir, url, alarm=alarm, do="shelve", who=who, reason=reason, hours=hours)

    @group.command()
    def unshelve(alarm: AlarmId, who: Who, data_dir: DataDir = None, url: Url = None) -> None:
        """Take an alarm up again before its shelving ends.

        Example: hearthline alarms unshelve sub-1:air:0 --who Li --data-dir hearthline-data
        """
        _act(data_dir, url, alarm=alarm, do="unshelve", who=who)

    @group.command()
    def assign(
        alarm: AlarmId,
        owner: Annotated[str, typer.Argument(help="Name of the new owner.")],
        who: Who,
        data_dir: DataDir = None,
        url: Url = None,
    ) -> None:
        """Say whose alarm it is.

        Example: hearthline alarms assign sub-1:air:0 Wang --who Li --data-dir hearthline-data
        """
        _act(data_dir, url, alarm=alarm, do="assign", who=who, reason=owner)

    @group.command()
    def comment(
        alarm: AlarmId,
        text: Annotated[str, typer.Argument(help="What is to be known.")],
        who: Who,
        data_dir: DataDir = None,
        url: Url = None,
    ) -> None:
        """Write something into an alarm's history.

        Example: hearthline alarms comment sub-1:air:0 "vented twice" --who Li --data-dir hearthline-data
        """
        _act(data_dir, url, alarm=alarm, do="comment", who=who, reason=text)


def _add_maintenance(group: typer.Typer) -> None:
    @group.command()
    def maintain(
        scope: Annotated[str, typer.Argument(help="A device, or *, region:, unit:, network: and an id.")],
        who: Who,
        reason: Reason,
        hours: Hours,
        code: Annotated[str, typer.Option(help="Only alarms of this code.")] = "",
        data_dir: DataDir = None,
        url: Url = None,
    ) -> None:
        """Suppress the alarms of what is being worked on.

        Example: hearthline alarms maintain unit:u1 --who Li --reason "new pump" --hours 4 --data-dir d
        """
        _act(data_dir, url, alarm=scope, do="maintain", who=who, reason=reason, hours=hours, code=code)

    @group.command("end-maintenance")
    def end_maintenance(
        scope: Annotated[str, typer.Argument(help="What was maintained.")],
        who: Who,
        data_dir: DataDir = None,
        url: Url = None,
    ) -> None:
        """End a maintenance before its time: what is still wrong tells again.

        Example: hearthline alarms end-maintenance unit:u1 --who Li --data-dir hearthline-data
        """
        _act(data_dir, url, alarm=scope, do="end_maintenance", who=who)


def _add_unsent(group: typer.Typer) -> None:
    @group.command()
    def unsent(data_dir: DataDir = None, url: Url = None, *, as_json: AsJson = False) -> None:
        """Print messages that did not arrive, or of which nobody knows, with the reason.

        Example: hearthline alarms unsent --data-dir hearthline-data
        """
        asked = server(data_dir, url)
        if asked is None:
            fail(f"expected a running server on {data_dir}, got none: it keeps the messages")
        try:
            rows = asked.unsent()
            nobody = not rows and not asked.channels()
        except ServerError as error:
            fail(error)
        if as_json:
            typer.echo(json.dumps(rows, ensure_ascii=False))
            return
        for row in rows:
            typer.echo(f"{row['state']}  {row['recipient']}  {row['subject']}  ({row['error']})")
        if nobody:
            typer.echo("no message was sent: this server has no channel, which an alerts.toml would give it")
        elif not rows:
            typer.echo("every message arrived")


def _add_replay(group: typer.Typer) -> None:
    @group.command()
    def replay(
        site: SiteDir,
        days: Annotated[int, typer.Option(min=1, max=3660, help="How far back.")] = 30,
        rules: Annotated[
            Path | None, typer.Option(help="Changed rules; without them only how it was.")
        ] = None,
        truth: Annotated[Path | None, typer.Option(help="truth_faults.json of a simulated case.")] = None,
        force: Annotated[str | None, typer.Option(help="Reason to accept rules beyond the limits.")] = None,
        data_dir: DataDir = None,
        url: Url = None,
        *,
        as_json: AsJson = False,
    ) -> None:
        """Run the conditions of the past through rules, and print what a desk would have borne.

        The figures are those of ISA-18.2 and EEMUA 191. Rules that break the limits are refused, with exit
        code 1, unless --force says why they are wanted all the same.

        Example: hearthline alarms replay --site site --days 30 --rules new.toml --data-dir hearthline-data
        """
        from hearthline.rehearsing import rehearsed, told

        if force is not None and not force.strip():
            raise UsageError("--force: expected a reason, got none")
        with source(data_dir, url) as select:
            result = rehearsed(select, site, rules, days, truth)
        result["forced"] = force
        typer.echo(json.dumps(result, ensure_ascii=False) if as_json else told(result))
        if rules is not None and result["over"] and force is None:
            broken = "; ".join(result["over"])
            fail(f"{rules}: expected rules within the limits, got {broken}: change them, or --force a reason")


def _add_report(group: typer.Typer) -> None:
    @group.command()
    def report(
        site: SiteDir,
        language: Annotated[str, typer.Option(help="zh or en.")] = "zh",
        data_dir: DataDir = None,
        url: Url = None,
        *,
        as_json: AsJson = False,
    ) -> None:
        """Print the alarms of the last seven days: figures, worst actors, what stands.

        Example: hearthline alarms report --site site --language en --data-dir hearthline-data
        """
        from hearthline.rehearsing import weekly

        if language not in {"zh", "en"}:
            raise UsageError(f"--language: expected zh or en, got {language!r}")
        with source(data_dir, url) as select:
            said, text = weekly(select, site, language)
        typer.echo(json.dumps(said, ensure_ascii=False) if as_json else text)
