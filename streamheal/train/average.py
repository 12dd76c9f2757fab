"""The mean of weights that one training passed through: often better than the last of them, at no cost in use.

    python -m streamheal.train.average BEFORE AFTER --recipe configs/lr-trunk-16.yaml --last fusion --out MEAN

After Wortsman 2022, "Model soups": weights fine-tuned from the same ones lie in one valley, and its middle is lower.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from streamheal import weights
from streamheal.errors import ConfigError, WeightsError
from streamheal.heal import networks
from streamheal.train import recipe
from streamheal.train.recipe import Recipe


def averaged(files: list[Path], plan: Recipe, last: Sequence[str] = ()) -> nn.Module:
    """The network in `files`, with the fields that the recipe gives, and with the mean of their weights; the parts
    named in `last` as in the last of them, where that has learned something that the others never met. Raises
    WeightsError where they don't fit."""
    found, headers = zip(*map(weights.load, files), strict=True)
    if unlike := [str(file) for file, tensors in zip(files, found, strict=True) if tensors.keys() != found[0].keys()]:
        raise WeightsError(f"{', '.join(unlike)}: not of the same network as {files[0]}")
    try:
        # Slim widths may have changed since then: what the recipe leaves open is as in the files.
        network = networks.build(plan.system, headers[0].get("network", {}) | plan.network)
        mean = {name: torch.stack([tensors[name] for tensors in found]).mean(0) for name in found[0]}
        mean |= {name: tensor for name, tensor in found[-1].items() if name.split(".")[0] in last}
        network.load_state_dict(mean)
    except (ConfigError, RuntimeError) as error:
        raise WeightsError(f"{', '.join(map(str, files))}: not the weights of {plan.name}: {error}") from error
    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", help="the last one's training is told in the file")
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument("--last", nargs="*", default=[], help="parts of the network that are not averaged")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    plan = recipe.read(asked.recipe)
    _, header = weights.load(asked.files[-1])
    said = header["training"] | {"recipe": plan.name, "mean_of": [weights.check(file, None) for file in asked.files]}
    if asked.last:
        said["last"] = asked.last
    networks.save(asked.out, plan.system, averaged(asked.files, plan, asked.last), said)


if __name__ == "__main__":
    main()
