"""The command line, one function a command. Heavy imports happen inside them, so that --help answers at once."""

import json
import logging
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from streamheal.commands import cluster, outbox, privacy, provenance
from streamheal.errors import StreamhealError, redact

app = typer.Typer(
    help="Video surveillance that heals faces.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Make and check data sets to train on.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(cluster.app)
app.add_typer(privacy.app)
app.add_typer(provenance.app)
app.add_typer(outbox.app, name="outbox")
PipelineFile = Annotated[Path, typer.Argument(help="A pipeline file, such as pipelines/demo.yaml.")]
Data = Annotated[Path, typer.Option("--data", help="Folder with the data sets (docs/training.md).")]


def main() -> None:
    """Entry point: an error that a user can mend is one message, and exit status 2."""
    try:
        app()
    except StreamhealError as error:
        typer.echo(f"streamheal: {redact(error)}", err=True)
        sys.exit(2)


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more in the log.")] = False,
) -> None:
    if version:
        from streamheal import __version__

        typer.echo(f"streamheal {__version__}")
        raise typer.Exit()
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )


@app.command()
def run(
    file: PipelineFile,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key: --set output.path=out.")
    ] = None,
) -> None:
    """Run a pipeline file: to the end of its recordings, or until stopped (Ctrl-C, SIGTERM)."""
    from streamheal.console import RunDisplay
    from streamheal.pipeline import Pipeline

    pipeline = Pipeline.from_file(_shipped(file), overrides or ())
    with RunDisplay() as display:
        # A second signal ends the process at once.
        def stop(number: int, _frame) -> None:
            signal.signal(number, signal.SIG_DFL)
            pipeline.stop()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        if pipeline.config.source.live:
            on_terminal = sys.stdin.isatty()

            def hang_up(number: int, frame) -> None:
                """A service is told so to read its file again; a terminal that was closed ends the run."""
                stop(number, frame) if on_terminal and not sys.stdin.isatty() else pipeline.reload()

            signal.signal(signal.SIGHUP, hang_up)
        summary = pipeline.run(display.update)
    display.summarise(summary)
    if summary.counts.get("recordings.failed"):
        raise typer.Exit(1)


@app.command()
def validate(
    file: PipelineFile,
    overrides: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key.")] = None,
    diff: Annotated[
        Path | None, typer.Option(help="Another pipeline file, or the output folder of a run: what runs now.")
    ] = None,
) -> None:
    """Say what is wrong with a pipeline file: file, line, key, what is allowed.

    With --diff: say what a live run would do if it went from the other file to this one. Exit status 0: nothing;
    3: something; 2: one of them is not valid.
    """
    from streamheal import pipeline_file

    config = pipeline_file.load(_shipped(file), overrides or ())
    if diff is not None:
        from streamheal import changes

        found = changes.compare(pipeline_file.load(changes.file_at(diff)), config)
        typer.echo("\n".join(map(str, found)) or "nothing would change")
        raise typer.Exit(3 if found else 0)
    if config.provenance.c2pa is not None:
        from streamheal.publish.signing import signing

        signing(config.provenance.c2pa)  # says what is wrong with certificate and key
    source = config.source
    what = f"{len(source.cameras)} cameras" if source.cameras else source.path or "the rendered demo clip"
    sinks = [str(config.output.path)] if config.output else []
    sinks += [f"kafka topic {config.kafka.topic}"] if config.kafka else []
    typer.echo(f"{file}: ok: {what} → {', '.join(sinks)}")


@app.command()
def schema() -> None:
    """Print the JSON Schema of pipeline files, for editors."""
    from streamheal import config

    typer.echo(json.dumps(config.schema(), indent=2))


@app.command()
def doctor() -> None:
    """Print what this machine has (CPU, GPU, codecs, weights with their hashes) and what is missing."""
    from streamheal.doctor import examine

    found = examine()
    width = max(len(check.name) for check in found)
    for check in found:
        verdict = "ok" if check.ok else "absent" if check.optional else "MISSING"
        typer.echo(f"{verdict:<7} {check.name:<{width}}  {check.detail}")
    if not all(check.ok or check.optional for check in found):
        raise typer.Exit(1)


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, such as configs/lr-trunk-16.yaml.")],
    data: Data,
    minutes: Annotated[float, typer.Option(min=0.05, help="Time budget; training always ends in time.")],
    out: Annotated[Path | None, typer.Option(help="Where checkpoints and pictures go; default: runs/NAME.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, …")] = "cpu",
    start_from: Annotated[
        Path | None, typer.Option("--from", help="Weights (.safetensors) to begin with, where OUT has no checkpoint.")
    ] = None,
) -> None:
    """Train a model from its recipe; goes on from a checkpoint in OUT if there is one."""
    from streamheal.train.command import train as start

    start(recipe, data, out or Path("runs") / recipe.stem, minutes, device=device, start_from=start_from)


@app.command()
def evaluate(
    name: Annotated[
        str, typer.Argument(help="A model in models/manifest.json, a system (fcsr-gan), or a detector of others.")
    ],
    data: Data,
    out: Annotated[Path | None, typer.Option(help="Where the figures go; default: runs/evaluate-NAME.")] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="Of a restorer: fcsr, ofhnet, pro-uigan, jdsr, fd, cctv (default: all that fit), track, or honesty."
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Judge this file (.safetensors), which doesn't ship yet.")
    ] = None,
    pictures: Annotated[int | None, typer.Option(min=2, help="Of each protocol, at most; default: 300.")] = None,
    against: Annotated[
        str | None, typer.Option(help="With --protocol track: a model, or file, to beat by whole tracks.")
    ] = None,
) -> None:
    """Judge a model on people that no training has seen; prints and writes the figures that its card shows."""
    from streamheal.train.command import evaluate as judge

    target = out or Path("runs") / f"evaluate-{name}"
    typer.echo(judge(name, data, target, protocol=protocol, path=weights, pictures=pictures, against=against))
    typer.echo(f"written to {target}")


@app.command()
def calibrate(
    name: Annotated[str, typer.Argument(help="A restorer or an embedder in models/manifest.json.")],
    data: Data,
    cache: Annotated[Path, typer.Option(help="Where decoded pictures are kept.")] = Path("runs/cache"),
) -> None:
    """Fit what a model's evidence and cosines are worth, on tuning people; writes models/NAME.calibration.json."""
    from streamheal.train.calibrate import calibrate as fit

    typer.echo(f"written to {fit(name, data, cache)}, pinned in manifest.json")


@data_app.command()
def prepare(
    photographs: Annotated[Path, typer.Argument(help="Folder of photographs (docs/training.md says which layouts).")],
    out: Annotated[Path, typer.Option(help="The data folder to put the shards into.")],
    size: Annotated[int, typer.Option(help="Side of the pictures: 128 or 256.")] = 128,
    layout: Annotated[str, typer.Option(help="auto, celebamask-hq, celeba-hq, celeba, helen, lfw or folder.")] = "auto",
    name: Annotated[str | None, typer.Option(help="The set's name; default: the folder's.")] = None,
    split: Annotated[
        str | None, typer.Option(help="partition (the set's own, the default where there is one) or 90/5/5.")
    ] = None,
    licence: Annotated[str | None, typer.Option(help="What the index says of each picture's licence.")] = None,
    seed: Annotated[int, typer.Option(help="Deals people out, mixes shards.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many photographs.")] = None,
    least_interocular: Annotated[
        float | None, typer.Option(min=0, help="Pixels between the eyes in a photograph; default: 30, or 60 at 256.")
    ] = None,
    shard_size: Annotated[int, typer.Option(min=1, help="Most pictures in a training shard.")] = 5000,
) -> None:
    """Turn a folder of photographs into aligned, packed shards; says what it left out and why."""
    from streamheal.train.prepare import command

    command.prepare(
        photographs, out, size=size, layout=layout, name=name, split_by=split, licence=licence, seed=seed, limit=limit,
        least_interocular=least_interocular, shard_size=shard_size,
    )  # fmt: skip


@data_app.command()
def check(folder: Annotated[Path, typer.Argument(help="A data folder with prepared sets.")]) -> None:
    """Verify prepared sets: checksums, nobody in two splits, shapes."""
    from streamheal.train.prepare import command

    if not command.check(folder):
        raise typer.Exit(1)


@app.command()
def edit(
    picture: Annotated[Path, typer.Argument(help="An aligned, square face of any size (faces/RUN/…-original.png).")],
    move: Annotated[
        list[str] | None, typer.Option(metavar="GROUP=RIGHT,DOWN", help="Pixels: --move mouth=0,3.")
    ] = None,
    scale: Annotated[list[str] | None, typer.Option(metavar="GROUP=FACTOR", help="--scale eyes=1.2.")] = None,
    open_: Annotated[
        list[str] | None, typer.Option("--open", metavar="GROUP=PIXELS", help="Eyes or mouth: --open mouth=6.")
    ] = None,
    landmarks: Annotated[Path | None, typer.Option(help="JSON: begin with these 68, not with the face's own.")] = None,
    visible: Annotated[Path | None, typer.Option(help="Grey picture, white = visible; default: found.")] = None,
    system: Annotated[str, typer.Option(help="A restorer that is led by landmarks.")] = "pro-uigan",
    out: Annotated[Path, typer.Option(help="PNG: seen, restored, edited; landmarks beside it as JSON.")] = Path(
        "edited.png"
    ),
) -> None:
    """Restore a face with other landmarks than it has. Groups: jaw, brows, nose, eyes, mouth; pixels of 128 a side."""
    from streamheal.heal import editing, editing_input
    from streamheal.publish import edited_face

    face = editing_input.read_face(picture)
    made = editing.edit(
        face,
        editing_input.read_visible(visible, len(face)) if visible else None,
        landmarks=editing_input.read_landmarks(landmarks) if landmarks else None,
        **editing_input.changes(move or (), scale or (), open_ or ()),
        system=system,
    )
    beside = edited_face.write(
        out, face, made.restored, made.edited,
        landmarks=made.landmarks, edited_landmarks=made.edited_landmarks, model=made.model,
    )  # fmt: skip
    typer.echo(f"written to {out} and {beside}")


def _shipped(file: Path) -> Path:
    """`file`, or the one of that name in the package, where the program was installed without its checkout."""
    packaged = Path(__file__).parent / "_pipelines" / file.name
    return packaged if not file.exists() and file.parts[:-1] == ("pipelines",) and packaged.exists() else file
