"""What `streamheal run` shows: a progress bar while it runs, a summary at the end."""

import logging
import time

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from streamheal import pipeline
from streamheal.errors import redact

_TOLD = ("dropped", "superseded", "recordings", "reconnects", "frames.corrupt", "kafka", "folder")  # counts by name
PLAIN_EVERY = 10.0  # seconds between lines where the output is no terminal


class RunDisplay:
    """A live bar on a terminal, a line now and then elsewhere (a service's log, CI)."""

    def __init__(self, console: Console | None = None):
        self._console = console or Console(stderr=True)
        self._first: tuple[float, int] | None = None
        self._plain_at = 0.0
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[facts]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=None, facts="")

    def __enter__(self) -> "RunDisplay":
        if self._console.is_terminal:  # log lines go above the bar instead of through it
            logging.getLogger().handlers[:] = [RichHandler(console=self._console, show_path=False)]
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, progress: pipeline.Progress) -> None:
        now = time.monotonic()
        if self._first is None and progress.frames:
            self._first = (now, progress.frames)
        since, base = self._first or (now, 0)
        fps = (progress.frames - base) / (now - since) if now > since else 0.0
        facts = f"{progress.frames} frames  {fps:.1f} fps  {progress.tracks} tracks  {progress.healed} healed"
        self._bar.update(
            self._task, description=progress.doing, total=progress.total, completed=progress.frames, facts=facts
        )
        if not self._console.is_terminal and now - self._plain_at >= PLAIN_EVERY:
            self._plain_at = now
            self._console.print(f"{progress.doing}: {facts}", highlight=False)

    def summarise(self, summary: pipeline.Summary) -> None:
        """Print what the run did and where it lies."""
        counts = summary.counts
        table = Table(show_header=False, box=None, padding=(0, 2))
        table.add_row("frames", f"{counts.get('frames', 0)} in {summary.seconds:.1f} s ({summary.fps:.1f} a second)")
        table.add_row("tracks", str(counts.get("tracks", 0)))
        table.add_row("healed faces", str(counts.get("healed", 0)))
        table.add_row("abstained", f"{counts.get('abstained', 0)} (original published, nothing invented)")
        for name in sorted(counts):
            if (
                name.startswith(
                    ("dropped", "superseded", "recordings", "reconnects", "frames.corrupt", "kafka", "folder")
                )
                and counts[name]
            ):
                table.add_row(name, str(counts[name]))
        if summary.output:
            table.add_row("written to", str(summary.output))
        if summary.report:
            table.add_row("report", str(summary.report))
        console = Console()
        console.print(table)
        for warning in summary.warnings:
            console.print(f"warning: {redact(warning)}", style="yellow", markup=False)
        if summary.stopped:
            console.print("stopped; recordings go on where they were when run again", style="dim")
