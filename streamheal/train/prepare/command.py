"""What `streamheal data prepare` and `streamheal data check` show."""

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from streamheal.train.prepare import check as checks
from streamheal.train.prepare import prepare as make


def prepare(photographs: Path, out: Path, **settings) -> None:
    """Prepare with a progress bar, then say what came of it."""
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        line = bar.add_task("photographs", total=None)
        manifest = make(
            photographs, out, tick=lambda done, all: bar.update(line, completed=done, total=all), **settings
        )
    counts, name = manifest["counts"], manifest["set"]
    summary = Table("split", "pictures", "people", "unnamed", title=f"{name}, layout {manifest['settings']['layout']}")
    for role, said in manifest["splits"].items():
        summary.add_row(role, str(said["pictures"]), str(said["people"]), str(said["unnamed"]))
    console.print(summary)
    if counts["rejected"]:
        left_out = Table("left out because", "photographs")
        for reason, number in counts["rejected"].items():
            left_out.add_row(reason, str(number))
        console.print(left_out)
    names = ", ".join(said["name"] for said in manifest["models"].values())
    print(f"{counts['packed']} of {counts['photographs']} photographs packed into {out}, by {names}")
    print(f"what was left out: {out / name}.rejected.csv; `streamheal data check {out}` looks it over")


def check(folder: Path) -> bool:
    """Say what is wrong with the sets in `folder`; returns whether nothing is."""
    found = checks.problems(folder)
    for name, wrong in found.items():
        print(f"{name}: ok" if not wrong else "\n".join(f"{name}: {what}" for what in wrong))
    return not any(found.values())
