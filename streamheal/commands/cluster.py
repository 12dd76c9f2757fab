"""`streamheal ingest` and `streamheal heal`: the two halves of `streamheal run`, on as many machines as it takes."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()

PipelineFile = Annotated[Path, typer.Argument(help="A pipeline file with a section kafka; the same on every node.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key: --set output.path=node-2.")
]


@app.command()
def ingest(file: PipelineFile, overrides: Overrides = None) -> None:
    """Watch cameras with other ingest nodes, and send what is to be healed to the heal workers, through Kafka."""
    from streamheal.cluster.ingest import IngestNode

    node = IngestNode.from_file(file, overrides or ())
    _stop_on_signals(node.stop)
    summary = node.run()
    for warning in summary.warnings:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"ingest: {_counted(summary.counts, 'frames', 'tracks', 'events')}")


@app.command()
def heal(file: PipelineFile, overrides: Overrides = None) -> None:
    """Heal, with other heal workers, what ingest nodes send through Kafka; until stopped (Ctrl-C, SIGTERM)."""
    from streamheal.cluster.heal import HealNode

    node = HealNode.from_file(file, overrides or ())
    _stop_on_signals(node.stop)
    typer.echo(f"heal: {_counted(node.run(), 'healed', 'abstained', 'dead', 'duplicates', 'forgotten')}")


def _counted(counts: dict[str, int], *names: str) -> str:
    return ", ".join(f"{counts.get(name, 0)} {name}" for name in names)


def _stop_on_signals(stop: Callable[[], None]) -> None:
    """The first signal asks for the end; a second ends the process at once."""

    def stopping(number: int, _frame) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stopping)
