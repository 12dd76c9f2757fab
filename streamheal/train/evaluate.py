"""Judge a trained model on people that no training has seen: JSON for machines, Markdown for cards, a contact sheet.

evaluate("lr-trunk-16", data_dir, out_dir)
"""

import json
from pathlib import Path

import torch

from streamheal import weights
from streamheal.errors import ConfigError
from streamheal.heal import networks
from streamheal.train import judge_embedder, judge_occlusion, judge_restorer
from streamheal.train.report import Evaluation, markdown
from streamheal.train.sheets import save_picture

JUDGES = {"restorer": judge_restorer.judge, "occlusion": judge_occlusion.judge, "embedder": judge_embedder.judge}


def evaluate(
    model: str,
    data_dir: Path,
    out_dir: Path,
    *,
    path: Path | None = None,
    cache: Path | None = None,
    threads: int | None = None,
) -> Evaluation:
    """Judge the shipped weights `model`, or those at `path` that are to become it. Fixed, seeded subsets of the test
    shards: the same figures each time. Writes MODEL.json, MODEL.md, MODEL.png into `out_dir`.

    Raises WeightsError on weights that are not there or not whole, ConfigError where no judge is for their kind.
    """
    if threads:
        torch.set_num_threads(threads)
    file = path or weights.find(model).path
    network = networks.load(file)
    kind = {"unet": "occlusion", "embedder": "embedder"}.get(weights.load(file)[1]["system"], "restorer")
    if kind not in JUDGES:
        raise ConfigError(f"no judge for {kind}; there are: {', '.join(JUDGES)}")
    out_dir.mkdir(parents=True, exist_ok=True)
    with torch.inference_mode():
        tables, settings, sheet = JUDGES[kind](network, data_dir, cache or out_dir / "cache")
    training = weights.load(file)[1].get("training", {})
    found = Evaluation(model, kind, weights.check(file, None), training, settings, tables)
    (out_dir / f"{model}.json").write_text(json.dumps(found.as_dict(), indent=2, ensure_ascii=False) + "\n")
    (out_dir / f"{model}.md").write_text(markdown(found))
    save_picture(sheet, out_dir / f"{model}.png")
    return found
