"""Why does a system fall short of its paper? Some minutes more from its shipped weights, with one thing changed.

    python benchmarks/shortfalls.py fcsr-gan-16 [NAME …] --data DIR --minutes 5

Each change trains the recipe's longest stage at half its rate, on one thread, and is judged under the paper's protocol
on tuning faces: dB and SSIM. Last come the pictures that one thread sees in a minute, at the slim and at the paper's
widths: of FCSR-GAN's a step of 16 takes minutes. Whether it is short of pictures: `benchmarks/seen.py`.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
import yaml

from streamheal import weights
from streamheal.heal import networks
from streamheal.train import data, trainer
from streamheal.train.evaluation import metrics
from streamheal.train.evaluation.judge_restorer import GROUPS, OWN
from streamheal.train.evaluation.report import show
from streamheal.train.evaluation.trial import restore
from streamheal.train.samples.bank import Bank
from streamheal.train.samples.protocols import draw_pair
from streamheal.train.tasks import fcsr_gan, fd_stackgan, jdsr_gan, ofhnet, pro_uigan

ROOT = Path(__file__).resolve().parent.parent
TUNING = "faces128-val"  # where a recipe names no other
SEED, GROUP = 5, 10
PIXELS = ("pixel", "coarse", "completed", "absolute", "inpainting", "asymmetric")  # losses that compare pixels
KNOWN = {"fcsr-gan": fcsr_gan.WEIGHTS, "jdsr-gan": jdsr_gan.WEIGHTS, "ofhnet": ofhnet.WEIGHTS}
KNOWN |= {"pro-uigan": pro_uigan.WEIGHTS, "fd-stackgan": fd_stackgan.WEIGHTS}
TEACHERS = {16: "lr-trunk-16", 32: "lr-trunk-32"}  # nobody teaches a system of full size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", help="recipes of the papers' systems, whose weights ship")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--minutes", type=float, default=5, help="of training for each change")
    parser.add_argument("--faces", type=int, default=150)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for name in asked.names:
        report(name, asked)


def report(name: str, asked: argparse.Namespace) -> None:
    plan = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text())
    shipped = weights.find(name).path
    size = networks.load(shipped).lr_size
    protocols = GROUPS[OWN[plan["system"]]]
    print(f"\n### {name}: {asked.minutes:g} minutes each, dB / SSIM, against the weights that ship\n")
    print(f"| change | pictures | {' | '.join(protocols)} |\n|---|--:|{'--:|' * len(protocols)}", flush=True)
    shard = plan.get("val", TUNING)
    before = {protocol: judged(shipped, protocol, size, shard, asked) for protocol in protocols}
    tell("as it ships", "", [words(found) for found in before.values()])
    with tempfile.TemporaryDirectory() as folder:
        for change, changed in changes(plan, protocols, size).items():
            trained, row = train(changed, shipped, Path(folder, change), asked)
            gains = [judged(trained, one, size, shard, asked) - found for one, found in before.items()]
            tell(change, row["seen"], [f"gain {words(gain)}" for gain in gains])
        for variant in ("slim", "paper"):
            _, row = train(of_width(variant, plan), None, Path(folder, variant), asked, minutes=1)
            rate = round(row["seen"] / row["minutes"])
            tell(f"{variant} widths, a minute from nothing", rate, [""] * len(protocols))


def changes(plan: dict, protocols: tuple[str, ...], size: int) -> dict[str, dict]:
    """Recipes of one stage, by what is changed."""
    plan = longest(plan)
    options = plan["options"]
    found = {"minutes": plan, "minutes, pixels alone": pixels_alone(plan)}
    if set(options["shares"]) != set(protocols):
        alone = options | {"shares": dict.fromkeys(protocols, 1)}
        found["minutes, the paper's protocol alone"] = plan | {"options": alone}
    if size in TEACHERS:
        found[f"minutes, taught by {TEACHERS[size]}"] = plan | {"options": options | {"teacher": TEACHERS[size]}}
    return found


def longest(plan: dict) -> dict:
    """The recipe with its longest stage alone, at half its rate: its weights are trained ones."""
    stage = max(plan["stages"], key=lambda one: one.get("share", 1))
    return plan | {"stages": [stage | {"rate": stage.get("rate", 1) / 2}], "ema": 0.995}


def pixels_alone(plan: dict) -> dict:
    stage, known = plan["stages"][0], KNOWN[plan["task"]]
    others = {loss: 0 for loss in known if not any(word in loss for word in PIXELS)}
    return plan | {"stages": [stage | {"weights": stage.get("weights", {}) | others}]}


def of_width(variant: str, plan: dict) -> dict:
    network = {field: value for field, value in plan["network"].items() if variant == "slim" or field != "width"}
    return pixels_alone(longest(plan)) | {"variant": variant, "parts": {}, "network": network}


def train(
    plan: dict, start: Path | None, out: Path, asked: argparse.Namespace, minutes: float | None = None
) -> tuple[Path, dict]:
    """The weights, and the last row of the curves."""
    out.mkdir()
    recipe, rows = out / "recipe.yaml", []
    recipe.write_text(yaml.safe_dump(plan))
    where = {"threads": 1, "cache": asked.cache, "start_from": start, "report": rows.append}
    return trainer.train(recipe, asked.data, out, minutes or asked.minutes, **where), rows[-1]


@torch.inference_mode()
def judged(path: Path, protocol: str, size: int, shard: str, asked: argparse.Namespace) -> np.ndarray:
    """PSNR and SSIM of each face `(2, n)`, of Y where the paper's are."""
    network = networks.load(path)
    faces = data.load(data.shards(asked.data, [shard]), asked.cache)
    rows = np.linspace(0, len(faces) - 1, min(asked.faces, len(faces))).astype(int)
    hr = torch.from_numpy(faces.pictures(rows)).permute(0, 3, 1, 2).float() / 255
    landmarks = torch.from_numpy(faces.landmarks[rows])
    bank, gen = Bank.draw(SEED, 16, asked.data / "occluders.zip", held_out=True), torch.Generator().manual_seed(SEED)
    found = []
    for start in range(0, len(hr), GROUP):
        part = slice(start, start + GROUP)
        shown = draw_pair(protocol, hr[part], landmarks[part], bank, gen, size=size)
        made, true = restore(network, shown.lr, shown.visible).hr, hr[part]
        pair = (metrics.luma(made), metrics.luma(true)) if protocol == "jdsr" else (made, true)
        found.append(np.stack([metrics.psnr(*pair), metrics.ssim(*pair)]))
    return np.concatenate(found, 1)


def words(found: np.ndarray) -> str:
    return " / ".join(show(metrics.interval(values)) for values in found)


def tell(change: str, pictures: int | str, figures: list[str]) -> None:
    print(f"| {change} | {pictures} | {' | '.join(figures)} |", flush=True)


if __name__ == "__main__":
    main()
