"""`streamheal forget`, `rotate`, `report`, `audit`: what may be done with faces that are kept, and who did what."""

import json
import re
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamheal.errors import ConfigError

if TYPE_CHECKING:
    from streamheal.config import PipelineConfig
    from streamheal.kept import Kept
    from streamheal.retention import Found, Which

app = typer.Typer()

File = Annotated[Path, typer.Argument(help="A pipeline file.")]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key.")]
SHOWN = 20  # ids in a dry run


@app.command()
def forget(
    file: File,
    camera: Annotated[str | None, typer.Option(help="Faces of this camera.")] = None,
    track: Annotated[
        str | None,
        typer.Option(metavar="[RUN/]CAMERA/EPOCH/TRACK", help="One person's track; of every run, or of RUN."),
    ] = None,
    before: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Healed before: 2026-11-20T14:30Z, 2026-11-20 (UTC), or an age: 30m, 72h, 14d."
        ),
    ] = None,
    expired: Annotated[bool, typer.Option("--expired", help="What is kept for longer than `retention` says.")] = False,
    tell: Annotated[
        bool,
        typer.Option("--tell-consumers", help="Also send a notice to the Kafka topic for each event that was sent."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Really delete; without, only say what would go.")] = False,
    overrides: Sets = None,
) -> None:
    """Delete faces from folder, outbox, report and logs, for good; also while the pipeline runs."""
    from streamheal import retention
    from streamheal.audit import hash_of

    config, places = _load(file, overrides)
    which = _which(config, camera, track, before, expired)
    if tell and config.kafka is None:
        raise ConfigError("--tell-consumers: the pipeline file has no kafka section, and so no consumers")
    if not yes:
        found = retention.Found()
        for kept in places:
            found.add(retention.find(kept, which))
        for id in found.ids[:SHOWN]:
            typer.echo(id)
        if len(found.ids) > SHOWN:
            typer.echo(f"… and {len(found.ids) - SHOWN} more")
        typer.echo(f"would be deleted: {_words(found)}; add --yes to delete it")
        _tell_of_kafka(config, places)
        return
    asked = {"camera": camera, "before": _iso(which.before), "track": None if track is None else hash_of(track)}
    deleted = retention.Found()
    for kept in places:
        kept.audit.note("deletion begun", why="asked", **asked)
        if tell and kept.has_events:
            told = _tell_consumers(config, kept, retention.find(kept, which))
            typer.echo(f"{told} notices to consumers wait in {kept.outbox}")
        here = retention.expire(kept, which.before) if expired else retention.delete(kept, which)
        kept.audit.note("deletion", why="asked", **here.counts(), ids=[hash_of(id) for id in here.ids])
        deleted.add(here)
    typer.echo(f"deleted: {_words(deleted)}")
    if deleted.report:
        typer.echo("report.html may have shown them: `streamheal report` writes it anew")
    for path in deleted.busy:
        typer.echo(f"{path} is held by a run; its boxes and landmarks go if you do the same when it has ended")
    _tell_of_kafka(config, places)
    if deleted.busy:
        raise typer.Exit(1)


@app.command()
def rotate(file: File, overrides: Sets = None) -> None:
    """Seal everything that is kept under the key in use (encryption.use), also what was plain until now."""
    from streamheal import rotation
    from streamheal.vault import Vault

    config, places = _load(file, overrides)
    vault = Vault.from_config(config.encryption)
    done, left = rotation.Resealed(), Counter()
    for kept in places:
        here = rotation.rotate(kept, vault)
        left += rotation.seals(kept)
        kept.audit.note("sealed anew", key=vault.key_id, **here.counts())
        done.add(here)
    typer.echo(
        f"sealed anew under {vault.key_id}: {done.pictures} pictures, {done.events} events, {done.outbox} in the outbox"
    )
    if done.report:
        typer.echo("report.html, which can't be sealed, is deleted; `streamheal report` writes it anew")
    for what in done.failed[:SHOWN]:
        typer.echo(f"doesn't open: {what}")
    others = {key: count for key, count in left.items() if key != vault.key_id}
    for key, count in others.items():
        typer.echo(f"still {f'under {key}' if key else 'plain'}: {count} values")
    if others:
        typer.echo("keep the older keys: start runs again with this pipeline file, and rotate once more")
        raise typer.Exit(1)
    typer.echo("no other key is needed any more")


@app.command()
def report(file: File, overrides: Sets = None) -> None:
    """Write report.html anew from the folder. With a key it is the only way to a report: it shows faces unsealed."""
    from streamheal.publish.report import write_report
    from streamheal.vault import Vault

    config, (kept, *_) = _load(file, overrides)
    if not kept.has_events:
        raise ConfigError(f"{file}: nothing was healed into {kept.folder or 'a folder'} yet; run the pipeline first")
    kept.audit.note("export", what="report", path=str(kept.folder / "report.html"))
    vault = Vault.from_config(config.encryption)
    made = write_report(kept.folder, title="streamheal report", facts={"pipeline": str(file)}, vault=vault)
    typer.echo(f"written to {made}")
    if vault.key_id:
        typer.echo("it shows faces unsealed: delete it when you have read it")


@app.command()
def audit(
    file: File,
    verify: Annotated[bool, typer.Option("--verify", help="Only say whether the log is untouched.")] = False,
    holds: Annotated[
        str | None, typer.Option(metavar="HASH", help="The hash that an earlier --verify printed.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: one JSON object a line.")] = False,
    overrides: Sets = None,
) -> None:
    """Show who started, stopped, exported and deleted what, and whether the log was tampered with."""
    from streamheal import audit as log

    _, (own, *others) = _load(file, overrides)
    wrong = []
    for kept in (own, *(other for other in others if other.audit.path.exists())):
        verdict = log.verify(kept.audit.path, holds=holds if kept is own else None)
        for line in () if verify else log.read(kept.audit.path):
            typer.echo(json.dumps(line) if as_json else _line(line))
        wrong += [f"{kept.audit.path}: {text}" for text in verdict.wrong]
        if not as_json:
            cut = f", {len(verdict.cut)} cut short by a crash" if verdict.cut else ""
            typer.echo(f"{kept.audit.path}: {verdict.lines} lines{cut}; the last one's hash is {verdict.last}")
    for text in wrong:
        typer.echo(f"TAMPERED: {text}", err=True)
    if wrong:
        raise typer.Exit(1)


def _load(file: Path, overrides: list[str] | None) -> "tuple[PipelineConfig, list[Kept]]":
    """The pipeline file, and the places where faces of it are kept: a run's first, others only if they are used."""
    from streamheal import pipeline_file
    from streamheal.kept import Kept

    config = pipeline_file.load(file, overrides or ())
    own, *others = Kept.all(config)
    return config, [own, *(kept for kept in others if kept.used)]


def _which(
    config: "PipelineConfig", camera: str | None, track: str | None, before: str | None, expired: bool
) -> "Which":
    from streamheal.retention import Which

    now = datetime.now(UTC)
    if expired:
        if camera or track or before:
            raise ConfigError("--expired goes alone: it deletes what is kept for longer than `retention` says")
        if config.retention is None:
            raise ConfigError("--expired: the pipeline file has no `retention`; give it, for example retention: 72h")
        return Which(before=(now - config.retention).timestamp())
    if not (camera or track or before):
        raise ConfigError("forget what? give --camera, --track, --before, or --expired")
    if track and not re.fullmatch(r"([^/]+/)?[^/]+/\d+/\d+", track):
        raise ConfigError(f"--track {track}: write CAMERA/EPOCH/TRACK or RUN/CAMERA/EPOCH/TRACK, such as gate/0/12")
    return Which(camera, track, None if before is None else _moment(before, now))


def _moment(text: str, now: datetime) -> float:
    """UTC seconds of a time, or of an age."""
    units = {"m": "minutes", "h": "hours", "d": "days"}
    if age := re.fullmatch(r"(\d{1,6})([mhd])", text):
        return (now - timedelta(**{units[age[2]]: int(age[1])})).timestamp()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--before {text}: write a time (2026-11-20T14:30Z) or an age (30m, 72h, 14d)") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _words(found: "Found") -> str:
    report = ", the report" if found.report else ""
    return (
        f"{len(found.events)} events with {len(found.pictures)} pictures, {len(found.waiting)} in the outbox, "
        f"boxes and landmarks of {len(found.logs)} recordings{report}"
    )


def _tell_consumers(config: "PipelineConfig", kept: "Kept", found: "Found") -> int:
    """Of events that still wait nobody has heard."""
    from streamheal.publish.notice import tell
    from streamheal.publish.outbox import Outbox
    from streamheal.vault import Vault

    with closing(Outbox(kept.outbox, vault=Vault.from_config(config.encryption))) as outbox:
        return tell(outbox, sorted({*found.events} - {*found.waiting}), datetime.now(UTC).timestamp())


def _tell_of_kafka(config: "PipelineConfig", places: "list[Kept]") -> None:
    from streamheal.kept import Kept

    if config.kafka is not None:
        if Kept.of_heal(config) in places:
            typer.echo(f"what waits in {config.cluster.crops_topic} is passed over by the heal workers of this machine")
        typer.echo(f"what the topic {config.kafka.topic} has taken is with its consumers, and can't be called back")


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _line(said: dict) -> str:
    facts = ", ".join(f"{name} {value}" for name, value in said["facts"].items() if value not in (None, [], ""))
    return f"{said['time']}  {said['user']:<12}  {said['what']:<16}  {facts}"
