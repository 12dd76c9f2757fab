"""A trained trunk made larger without a change of what it draws, so that training goes on and does not begin anew.

    python -m streamheal.train.grow models/lr-trunk-16.safetensors --width 128 --out LARGER
    python -m streamheal.train.grow models/lr-trunk-16.safetensors --takes 32 --out LARGER
    streamheal train RECIPE --from LARGER --data DIR --minutes 60

Wider (`widened`), or for larger crops (`taking`); the recipe then trains what is new.
"""

import argparse
import dataclasses
from pathlib import Path

import torch

from streamheal import weights
from streamheal.heal import networks
from streamheal.heal.networks.lr_trunk import LrTrunk


def widened(network: LrTrunk, width: int, seed: int = 0) -> LrTrunk:
    """A copy with `width` channels at LR size and the same output, but for rounding. Raises ValueError if that is less
    than it has.

    Function-preserving widening (Chen 2016, "Net2Net"): the old channels keep their weights and don't look at the new
    ones, which begin as random features of what the network sees.
    """
    old = network.config
    if width < old.width:
        raise ValueError(f"width {width}: the network has {old.width} channels already, and is only ever made wider")
    torch.manual_seed(seed)
    wide = LrTrunk(dataclasses.replace(old, width=width))
    grown = wide.state_dict()
    for name, weight in network.state_dict().items():
        grown[name] = _grown(name, weight, grown[name])
    wide.load_state_dict(grown)
    return wide


def taking(network: LrTrunk, lr_size: int) -> LrTrunk:
    """A copy for crops of `lr_size` px, two or four times what the network takes; a stem folds their pixels.

    At first it adds to the enlarged crop what the network adds to the enlarged crop of the smaller size, and joins
    nothing where the features have the crop's size. Raises ValueError on another size, or behind a stem already.
    """
    old = network.config
    stem = lr_size // old.lr_size
    if old.stem != 1 or stem not in (2, 4) or stem * old.lr_size != lr_size:
        raise ValueError(
            f"lr_size {lr_size}: a network without a stem can be made to take twice or four times its own size; this "
            f"one takes {old.lr_size} px with a stem of {old.stem}"
        )
    larger = LrTrunk(dataclasses.replace(old, lr_size=lr_size, stem=stem))
    own = larger.state_dict()
    for name, weight in network.state_dict().items():
        if name == "enter.weight":  # every pixel that was one has its share in what it said
            own[name] = (weight / stem**2).repeat_interleave(stem**2, 1)
        elif not name.startswith("fusion.features"):  # these join elsewhere, and begin at zero
            own[name] = weight
    own["again.weight"], own["again.bias"] = (torch.zeros_like(own[f"again.{kind}"]) for kind in ("weight", "bias"))
    larger.load_state_dict(own)
    return larger


def _grown(name: str, old: torch.Tensor, fresh: torch.Tensor) -> torch.Tensor:
    if name.startswith("attention.query_key_value"):
        (query, key, value), (new_query, new_key, new_value) = old.chunk(3), fresh.chunk(3)
        # Attention divides by the root of its channels. The new ones of a query are 0: they change no product.
        query = query * (len(new_query) / len(query)) ** 0.5
        return torch.cat([_put(query, new_query * 0), _put(key, new_key), _put(value, new_value)])
    return _put(old, fresh * 0 if name.startswith("fusion") else fresh)  # one frame alone must add nothing


def _put(old: torch.Tensor, fresh: torch.Tensor) -> torch.Tensor:
    """`old` in the first rows and columns of `fresh`, which its rows otherwise don't look at."""
    grown = fresh.clone()
    if old.ndim > 1:
        grown[: len(old)] = 0
    grown[tuple(slice(0, side) for side in old.shape)] = old
    return grown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--width", type=int, help="channels at LR size")
    how.add_argument("--takes", type=int, help="side of the crops that it is to take, px")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    _, header = weights.load(asked.weights)
    network = networks.load(asked.weights)
    larger = widened(network, asked.width) if asked.width else taking(network, asked.takes)
    networks.save(asked.out, header["system"], larger, header["training"])


if __name__ == "__main__":
    main()
