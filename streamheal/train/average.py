"""The mean of weights that one training passed through: often better than the last of them, at no cost in use.

    python -m streamheal.train.average before.safetensors after.safetensors --recipe configs/lr-trunk-16.yaml --out OUT

After Wortsman 2022, "Model soups": weights fine-tuned from the same ones lie in one valley, and its middle is lower.
"""

import argparse
from pathlib import Path

import torch
from torch import nn

from streamheal import weights
from streamheal.errors import WeightsError
from streamheal.heal import networks
from streamheal.train import recipe
from streamheal.train.recipe import Recipe


def averaged(files: list[Path], plan: Recipe) -> nn.Module:
    """The recipe's network with the mean of the weights in `files`. Raises WeightsError where they don't fit it."""
    network = networks.build(plan.system, plan.network, plan.variant)
    found = [weights.load(file)[0] for file in files]
    if unlike := [str(file) for file, tensors in zip(files, found, strict=True) if tensors.keys() != found[0].keys()]:
        raise WeightsError(f"{', '.join(unlike)}: not of the same network as {files[0]}")
    try:
        network.load_state_dict({name: torch.stack([t[name] for t in found]).mean(0) for name in found[0]})
    except RuntimeError as error:
        raise WeightsError(f"{', '.join(map(str, files))}: not the weights of {plan.name}: {error}") from error
    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", help="the last one's training is told in the file")
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    plan = recipe.read(asked.recipe)
    _, header = weights.load(asked.files[-1])
    said = header["training"] | {"recipe": plan.name, "mean_of": [weights.check(file, None) for file in asked.files]}
    networks.save(asked.out, plan.system, averaged(asked.files, plan), said)


if __name__ == "__main__":
    main()
