"""Judge a trained model on people that no training has seen: JSON for machines, Markdown for cards, a contact sheet.

evaluate("lr-trunk-16", data_dir, out_dir)
"""

import json
from pathlib import Path

import torch

from streamheal import calibration, weights
from streamheal.errors import ConfigError
from streamheal.heal import networks
from streamheal.train.evaluation import (
    judge_embedder,
    judge_honesty,
    judge_occlusion,
    judge_priors,
    judge_restorer,
    judge_track,
)
from streamheal.train.evaluation.judge_restorer import PICTURES
from streamheal.train.evaluation.report import Evaluation, markdown
from streamheal.train.sheets import save_picture
from streamheal.train.ship import KINDS

JUDGES = {
    "occlusion": judge_occlusion.judge,
    "embedder": judge_embedder.judge,
    "landmarks": judge_priors.judge_landmarks,
    "parsing": judge_priors.judge_parsing,
}
"""Kind → judge; restorers have their own, which knows protocols, and so has what fuses tracks for them."""

TRACK, HONESTY = "track", "honesty"


def evaluate(
    model: str,
    data_dir: Path,
    out_dir: Path,
    *,
    path: Path | None = None,
    protocol: str | None = None,
    pictures: int = PICTURES,
    cache: Path | None = None,
    threads: int | None = None,
    against: Path | None = None,
) -> Evaluation:
    """Judge the shipped weights `model`, or those at `path` that are to become it. Fixed, seeded subsets of the test
    shards: the same figures each time. Writes MODEL.json, MODEL.md, MODEL.png into `out_dir`; with a protocol,
    MODEL-PROTOCOL.json and so on.

    protocol: of a restorer, one of judge_restorer.GROUPS, or "track"; all of those groups that fit it by default. Of a
    restorer or an embedder, "honesty": what its calibration keeps; by default, too, where it is calibrated.
    pictures: of each, at most. against: of protocol track, weights of another restorer, to be met by single frames.

    Raises WeightsError on weights that are not there or not whole, ConfigError where no judge is for their kind, or the
    protocol is not one for them.
    """
    if threads:
        torch.set_num_threads(threads)
    file = path or weights.find(model).path
    network = networks.load(file)
    header = weights.load(file)[1]
    system, cache = header["system"], cache or out_dir / "cache"
    kind = KINDS.get(system)
    if kind not in ("restorer", "fusion", *JUDGES):
        raise ConfigError(f"no judge for {system}; there are for restorers, fusion, {', '.join(JUDGES)}")
    if kind != "restorer" and protocol and (kind, protocol) not in (("fusion", TRACK), ("embedder", HONESTY)):
        raise ConfigError(f"{model} is no restorer ({kind}): leave the protocol out")
    if against and (kind, protocol) != ("restorer", TRACK):
        raise ConfigError(f"--against is for a restorer under --protocol {TRACK}")
    sha256, plots = weights.check(file, None), None
    known = calibration.find(model)
    if known is not None and known.sha256 != sha256:
        known = None  # it is of the weights that ship, and these are others
    if known is None and protocol == HONESTY:
        raise ConfigError(f"{model} {sha256[:12]}… is not calibrated: streamheal calibrate {model} --data DIR")
    with torch.inference_mode():
        if protocol == HONESTY:
            tables, sheet = judge_honesty.tables(known, network, data_dir, cache, people=pictures // 2)
            settings = known.fitted_on
        elif kind == "fusion":
            tables, settings, sheet = judge_track.judge_fusion(network, data_dir, cache, pictures)
        elif protocol == TRACK:
            other = networks.load(against) if against else None
            tables, settings, sheet = judge_track.judge(network, data_dir, cache, against=other, pictures=pictures)
        elif kind == "restorer":
            ask = {"protocol": protocol, "pictures": pictures}
            tables, settings, sheet = judge_restorer.judge(system, network, data_dir, cache, **ask)
        else:
            tables, settings, sheet = JUDGES[kind](network, data_dir, cache)
        if known is not None and protocol is None:
            more, plots = judge_honesty.tables(known, network, data_dir, cache, people=pictures // 2)
            tables = tables + more
    found = Evaluation(model, kind, sha256, header.get("training", {}), settings, tables)
    name = f"{model}-{protocol}" if protocol else model
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / f"{name}.json").write_text(json.dumps(found.as_dict(), indent=2, ensure_ascii=False) + "\n")
    (out_dir / f"{name}.md").write_text(markdown(found))
    save_picture(sheet, out_dir / f"{name}.png")
    if plots is not None:
        save_picture(plots, out_dir / f"{name}-{HONESTY}.png")
    return found
