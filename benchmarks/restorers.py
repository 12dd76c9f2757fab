"""Trains every restorer for a few minutes and holds it against filling and enlarging, under its own protocol.

    python benchmarks/restorers.py --data DIR --minutes 6 [--only ofhnet …] [--device cuda] [--table docs/training.md]

Each is trained from its recipe from nothing and judged on people that no training has seen. A run that was cut short
goes on: a training from its checkpoint, a finished one is judged again. The table in docs/training.md comes from here.
"""

import argparse
import csv
from pathlib import Path

import torch
import yaml

from streamheal.heal import networks
from streamheal.train import recipe, trainer
from streamheal.train.evaluation import metrics, trial
from streamheal.train.evaluation.judge_restorer import GROUPS, OWN
from streamheal.train.evaluation.measures import Judges
from streamheal.train.evaluation.report import show
from streamheal.train.samples.bank import Bank

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- restorers: begin -->", "<!-- restorers: end -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=6, help="of training for each")
    parser.add_argument("--out", type=Path, default=Path("runs/restorers"))
    parser.add_argument("--only", nargs="*", help="recipes, by name")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--table", type=Path, help="Markdown file in which to put the table, between its marks")
    arguments = parser.parse_args()
    rows = []
    for path in recipes(arguments.only):
        weights = train(path, arguments)
        rows += judged(path.stem, weights, arguments)
        print("\n".join(rows[-2:]), flush=True)
    text = "\n".join([*HEAD, *rows])
    print(text)
    if arguments.table:
        before, rest = arguments.table.read_text().split(BEGIN)
        arguments.table.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}")


def recipes(only: list[str] | None) -> list[Path]:
    """Those of the papers' five systems, in the order of their names."""
    paths = sorted((ROOT / "configs").glob("*.yaml"))
    said = {path: yaml.safe_load(path.read_text()) for path in paths}
    return [path for path in paths if (path.stem in only if only else said[path].get("system") in OWN)]


def train(path: Path, arguments: argparse.Namespace) -> Path:
    """The weights in this benchmark's folder, trained on until they have had their minutes."""
    out = arguments.out / path.stem
    left = arguments.minutes - minutes_of(out)
    if left > 0.05:
        cache = arguments.out / "cache"
        trainer.train(path, arguments.data, out, left, arguments.device, cache=cache, report=lambda row: print(row))
    return out / f"{path.stem}.safetensors"


def minutes_of(out: Path) -> float:
    curves = out / "curves.csv"
    return float(list(csv.DictReader(curves.open()))[-1]["minutes"]) if curves.is_file() else 0.0


HEAD = [
    "| recipe | protocol | minutes | pictures | Telea + bicubic: PSNR dB | SSIM | restored: PSNR dB | SSIM | gain dB |",
    "|---|---|---|---|---|---|---|---|---|",
]


@torch.inference_mode()
def judged(name: str, path: Path, arguments: argparse.Namespace) -> list[str]:
    network = networks.load(path)
    system = recipe.read(ROOT / "configs" / f"{name}.yaml").system
    bank = Bank.draw(trial.SEED, 48, arguments.data / "occluders.zip", held_out=True)
    judges = Judges()  # pixels alone
    subjects = trial.Subjects.choose(
        arguments.data, arguments.out / "cache", network.hr_size, arguments.pictures, judges
    )
    last = list(csv.DictReader((path.parent / "curves.csv").open()))[-1]
    rows = []
    for protocol in GROUPS[OWN[system]]:
        held = trial.run(system, network, protocol, subjects, bank, judges, None)
        channel = " Y" if protocol == "jdsr" else ""
        cells = [name, protocol, f"{float(last['minutes']):.0f}", f"{float(last['seen']):.0f}"]
        for method in (trial.TELEA, trial.RESTORED):
            each = held.methods[method].each
            cells += [show(metrics.interval(each[f"{figure}{channel}"])) for figure in ("PSNR", "SSIM")]
        gain = held.methods[trial.RESTORED].each[f"PSNR{channel}"] - held.methods[trial.TELEA].each[f"PSNR{channel}"]
        rows.append("| " + " | ".join([*cells, show(metrics.interval(gain))]) + " |")
    return rows


if __name__ == "__main__":
    main()
