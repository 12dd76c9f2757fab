"""`streamheal outbox`: look into the outbox of a pipeline, let dead letters wait again, delete them."""

import json
import time
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamheal.errors import SinkError

if TYPE_CHECKING:
    from streamheal.publish.outbox import Entry, Outbox

app = typer.Typer(help="Look into the outbox of the Kafka sink; re-send and purge dead letters.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="A pipeline file, or the outbox itself (outbox.sqlite).")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Events, by their ids.")]
All = Annotated[bool, typer.Option("--all", help="All dead letters.")]
Json = Annotated[bool, typer.Option("--json", help="For machines: one JSON object a line.")]


@app.command("list")
def list_(
    file: File,
    dead: Annotated[bool, typer.Option("--dead", help="Dead letters only.")] = False,
    waiting: Annotated[bool, typer.Option("--waiting", help="Only what waits.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Of each kind, at most; the oldest.")] = 100,
    as_json: Json = False,
) -> None:
    """Show what waits, and the dead letters with their reasons, oldest first."""
    with closing(_open(file)) as outbox:
        counts = outbox.counts()
        entries = outbox.entries(dead=True, limit=limit) if dead or not waiting else []
        entries += outbox.entries(dead=False, limit=limit) if waiting or not dead else []
    now = time.time_ns()
    for entry in entries:
        typer.echo(json.dumps(_facts(entry)) if as_json else _line(entry, now))
    if not as_json:
        typer.echo(f"{counts.waiting} waiting, {counts.dead} dead; {len(entries)} shown")


@app.command()
def resend(file: File, ids: Ids = None, every: All = False) -> None:
    """Let dead letters wait again, in their old places; a running pipeline sends them within seconds."""
    wanted = _wanted(ids, every)
    with closing(_open(file)) as outbox:
        _note(file, outbox, "export", how="dead letters wait again", ids=wanted)
        count = outbox.resend(wanted)
    typer.echo(f"{count} dead letters wait again")


@app.command()
def purge(
    file: File,
    ids: Ids = None,
    every: All = False,
    before: Annotated[
        datetime | None, typer.Option(help="Only those healed before this moment, UTC: 2026-11-20 or …T14:30:00.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Really delete.")] = False,
) -> None:
    """Delete dead letters for good; they count as forgotten."""
    wanted = _wanted(ids, every or before is not None)
    before_ns = None if before is None else int(before.replace(tzinfo=UTC).timestamp()) * 1_000_000_000
    with closing(_open(file)) as outbox:
        if not yes:
            raise SinkError(f"purge deletes dead letters of {outbox.path} for good; if that is meant, add --yes")
        _note(file, outbox, "deletion", why="dead letters purged", ids=wanted, before=before)
        count = outbox.purge(wanted, before_ns=before_ns)
    typer.echo(f"{count} dead letters deleted")


@app.command()
def accounts(file: File, as_json: Json = False) -> None:
    """Say where every event is that ever came in. Reads the whole file; fails if it is damaged or doesn't add up."""
    with closing(_open(file)) as outbox:
        outbox.check()
        found = outbox.accounts()
        used = outbox.used
    if as_json:
        typer.echo(json.dumps({**asdict(found), "bytes": used, "balanced": found.balanced}))
    else:
        for name, count in asdict(found).items():
            typer.echo(f"{name:<13} {count}")
        verdict = "" if found.balanced else "NOT "
        typer.echo(f"added is {verdict}the sum of the others; {used} bytes are used")
    if not found.balanced:
        raise typer.Exit(1)


def _open(file: Path) -> "Outbox":
    from streamheal import pipeline_file
    from streamheal.publish.outbox import Outbox

    path = file
    if _is_pipeline(file):
        path = pipeline_file.load(file).outbox
        if path is None:
            raise SinkError(f"{file} has no kafka section, and so no outbox")
    return Outbox(path, create=False, ballast=0)


def _note(file: Path, outbox: "Outbox", what: str, *, ids: list[str] | None, **facts: object) -> None:
    """Into the audit log of the pipeline, or the one beside the outbox, before it is done."""
    from streamheal import pipeline_file
    from streamheal.audit import Audit, hash_of

    state = pipeline_file.load(file).state if _is_pipeline(file) else outbox.path.parent / "state"
    Audit(state / "audit.jsonl").note(what, **facts, ids="all" if ids is None else [hash_of(id) for id in ids])


def _is_pipeline(file: Path) -> bool:
    return file.suffix in (".yaml", ".yml")


def _wanted(ids: list[str] | None, every: bool) -> list[str] | None:
    """None: all dead letters."""
    if bool(ids) == every:
        raise SinkError("which dead letters? give their ids, or --all; `streamheal outbox list --dead` shows them")
    return ids or None


def _facts(entry: "Entry") -> dict:
    state = "waiting" if entry.reason is None else "dead"
    return {"state": state, **asdict(entry)}


def _line(entry: "Entry", now_ns: int) -> str:
    state = "waiting" if entry.reason is None else "dead   "
    age = _age((now_ns - entry.added_ns) / 1e9)
    return f"{state}  {age:>6}  {entry.bytes:>9} B  {entry.id}" + (f"  {entry.reason}" if entry.reason else "")


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f}{unit}"
    return f"{max(0, seconds):.0f}s"
