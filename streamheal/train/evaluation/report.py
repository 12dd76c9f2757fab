"""What an evaluation found, as JSON and as the Markdown that goes into a card."""

from dataclasses import asdict, dataclass
from pathlib import Path

Cell = str | float | dict[str, float]
"""Words, a number, or a figure with its interval: {"mean", "low", "high"}."""


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    note: str
    columns: list[str]
    rows: list[list[Cell]]
    folded: bool = False  # shown only when asked for, where Markdown is rendered


@dataclass(frozen=True, slots=True)
class Evaluation:
    model: str
    kind: str
    sha256: str
    training: dict
    settings: dict[str, str]
    tables: list[Table]

    def as_dict(self) -> dict:
        return asdict(self)


def markdown(found: Evaluation) -> str:
    lines = [
        f"Weights `{found.sha256}`; " + ", ".join(f"{key} {value}" for key, value in found.training.items()) + ".",
        "",
    ]
    lines += [f"- {key}: {value}" for key, value in found.settings.items()]
    for table in found.tables:
        lines += ["", *_lines(table)]
    return "\n".join(lines) + "\n"


def _lines(table: Table) -> list[str]:
    lines = ["| " + " | ".join(table.columns) + " |", "|" + " --- |" * len(table.columns)]
    lines += ["| " + " | ".join(show(cell) for cell in row) + " |" for row in table.rows]
    lines = [table.note, "", *lines] if table.note else lines
    if table.folded:
        return [f"<details><summary>{table.title}</summary>", "", *lines, "", "</details>"]
    return [f"### {table.title}", "", *lines]


def show(cell: Cell) -> str:
    if isinstance(cell, str):
        return cell
    if isinstance(cell, dict):
        digits = 2 if abs(cell["mean"]) >= 5 else 3
        return f"{cell['mean']:.{digits}f} ({cell['low']:.{digits}f}–{cell['high']:.{digits}f})"
    return f"{cell:.3f}"


def put_into_card(card: Path, figures: str, block: str = "figures") -> None:
    """Replace the part of the card between the two marks of `block` by `figures`; the words round it stay. Raises
    ValueError where the card has no such block. Tracks have their own: "track figures"."""
    text, (begin, end) = card.read_text(), (f"<!-- {block}: {side} -->" for side in ("begin", "end"))
    if begin not in text or end not in text:
        raise ValueError(f"{card} has no {begin} … {end}")
    before, rest = text.split(begin, 1)
    after = rest.split(end, 1)[1]
    card.write_text(f"{before}{begin}\n\n{figures}\n{end}{after}")
