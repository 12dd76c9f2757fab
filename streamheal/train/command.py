"""What `streamheal train` and `streamheal evaluate` do: choose by task or kind, and show how it goes."""

from pathlib import Path

import yaml
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from streamheal import weights
from streamheal.errors import ConfigError
from streamheal.train.evaluation.report import markdown

DETECTORS_OF_OTHERS = ("centerface", "yunet")


def train(
    recipe: Path, data: Path, out: Path, minutes: float, device: str = "cpu", start_from: Path | None = None
) -> Path:
    """Train what `recipe` says for `minutes`; returns the path of the weights. Raises ConfigError on a bad recipe."""
    if not recipe.is_file():
        raise ConfigError(f"no recipe at {recipe}; see configs/")
    try:
        said = yaml.safe_load(recipe.read_text())
    except yaml.YAMLError as error:
        raise ConfigError(f"{recipe}: not YAML: {error}") from error
    if isinstance(said, dict) and said.get("task") == "detector":
        if device != "cpu":
            raise ConfigError(f"{recipe} trains a detector, which runs on the CPU only here; leave out --device")
        from streamheal.train.detector import training

        return training.train(recipe, data, out, minutes)
    from streamheal.train import trainer

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), TextColumn("{task.fields[says]}"))
    with Progress(*columns, transient=True) as bar:
        line = bar.add_task(recipe.stem, total=minutes * 60, says="")

        def tick(seconds: float, per_second: float, loss: float) -> None:
            bar.update(line, completed=seconds, says=f"{per_second:.0f} pictures/s, loss {loss:.4f}")

        def report(row: dict) -> None:
            figures = {
                key: value for key, value in row.items() if key not in ("step", "stage", "seen", "learning_rate")
            }
            words = ", ".join(f"{key} {value:.4g}" for key, value in figures.items())
            bar.console.print(f"{row['stage']}: {words}", highlight=False)

        path = trainer.train(recipe, data, out, minutes, device, start_from=start_from, report=report, tick=tick)
    print(f"weights {path}\ncard {path.with_suffix('.md')}\ncurves {out / 'curves.csv'}\npictures {out / 'sheet.png'}")
    return path


def evaluate(
    name: str,
    data: Path,
    out: Path,
    *,
    protocol: str | None = None,
    path: Path | None = None,
    pictures: int | None = None,
    against: str | None = None,
) -> str:
    """Judge a shipped model, all those of a system, or one of the detectors that others made; or, at `path`, weights
    that don't ship. Returns Markdown, and writes it into `out`. `protocol`, `pictures`: as in `evaluate.evaluate`;
    `against`: as there, a path or the name of a shipped model."""
    files = [] if path or name in DETECTORS_OF_OTHERS else _shipped(name)
    if name in DETECTORS_OF_OTHERS or any(file.kind == "detector" for file in files):
        if protocol or pictures or against:
            raise ConfigError(f"{name} is a detector; --protocol, --pictures and --against are for restorers")
        from streamheal.train.detector import recall

        return markdown(recall.evaluate(name, data, out))
    from streamheal.train import evaluate as judges

    ask = {"protocol": protocol, "pictures": pictures or judges.PICTURES, "against": _weights(against)}
    if path:
        return markdown(judges.evaluate(name, data, out, path=path, **ask))
    return "\n".join(markdown(judges.evaluate(file.name, data, out, **ask)) for file in files)


def _weights(name: str | None) -> Path | None:
    """The file at the path, or of the shipped model, `name`. Raises WeightsError where there is neither."""
    if name is None or Path(name).is_file():
        return Path(name) if name else None
    return weights.find(name).path


def _shipped(name: str) -> list[weights.WeightFile]:
    """The model called `name`, or all of the system called so. Raises WeightsError where there is neither."""
    known = weights.manifest()
    of_system = [] if name in known else [model for model, file in known.items() if file.system == name]
    return [weights.find(model) for model in of_system or [name]]
