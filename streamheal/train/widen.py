"""A trained trunk made wider without a change of what it draws, so that training goes on and does not begin anew.

    python -m streamheal.train.widen models/lr-trunk-16.safetensors --width 128 --out wide.safetensors
    streamheal train configs/lr-trunk-16.yaml --from wide.safetensors --data DIR --minutes 60

Function-preserving widening (Chen 2016, "Net2Net"): the old channels keep their weights and don't look at the new ones,
which begin as random features of what the network sees.
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
    than it has."""
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
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    _, header = weights.load(asked.weights)
    wide = widened(networks.load(asked.weights), asked.width)
    networks.save(asked.out, header["system"], wide, header["training"])


if __name__ == "__main__":
    main()
