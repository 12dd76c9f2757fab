"""The pictures of failure cases of tracks in the cards: what fusion makes of crops that ask too much of it.

    python benchmarks/track_failures.py [NAME or FILE …] [--fusion FILE]

Two photographs in the public domain (NASA's Eileen Collins, the US Navy's Grace Hopper) that dependencies carry, each
as tracks of 8 crops, from left to right: a mask that nobody found; all but the brow hidden in every crop; half of the
crops of somebody else, as after a tracker's mistake; the other crops askew; dark, noisy and compressed. Rows: the first
crop, the last one, the first one's visibility, restored alone, fused, the evidence that fusion claims, the photograph.
Writes models/failures/NAME-track.jpg.
"""

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import torch
from failures import SEED, aligned
from torch import nn

from streamheal import weights
from streamheal.errors import ConfigError
from streamheal.heal import networks
from streamheal.heal.networks.layers import resample, resample_map
from streamheal.heal.networks.warping import similarity, warp
from streamheal.train.evaluation.judge_track import fusion_for
from streamheal.train.evaluation.track_trial import MOST, restore_fused
from streamheal.train.evaluation.trial import restore
from streamheal.train.samples.bank import Bank
from streamheal.train.samples.tracks import draw_track
from streamheal.train.sheets import grow, sheet
from streamheal.video.sample import PEOPLE

SHOWN = 96  # px


def restorers(names: list[str], fusion_file: Path | None) -> Iterator[tuple[str, nn.Module, nn.Module | None]]:
    """Shipped restorers or files by name, each with the fusion that it needs; all shipped ones that have one."""
    shipped = [name for name, file in weights.manifest().items() if file.kind == "restorer"]
    for name in names or shipped:
        network = networks.load(Path(name) if Path(name).is_file() else weights.find(name).path)
        own = getattr(network, "fusion", None) is not None
        try:
            fusion = networks.load(fusion_file) if fusion_file and not own else fusion_for(network)
        except ConfigError:
            if names:
                raise
            continue  # none for its size
        yield name, network, fusion


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="shipped restorers, or weights (.safetensors)")
    parser.add_argument("--fusion", type=Path, help="for those that have none of their own; default: the shipped one")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent / "models" / "failures")
    arguments = parser.parse_args()
    arguments.out.mkdir(exist_ok=True)
    for name, network, fusion in restorers(arguments.names, arguments.fusion):
        path = arguments.out / f"{Path(name).stem}-track.jpg"
        shown = (255 * sheet(rows(network, fusion), most=100)).round().byte().permute(1, 2, 0).numpy()
        cv2.imwrite(str(path), shown[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
        print(path)


def rows(network: nn.Module, fusion: nn.Module | None) -> list[torch.Tensor]:
    clean = torch.stack([torch.from_numpy(aligned(person)).permute(2, 0, 1).float() / 255 for person in PEOPLE[:2]])
    bank = Bank.draw(SEED, per_kind=8)
    columns = [column for who in range(2) for column in cases(clean, who, network.lr_size, bank)]
    lr, visible = (torch.cat(parts) for parts in zip(*columns, strict=True))
    alone = restore(network, lr[:, 0], visible[:, 0])
    fused = restore_fused(network, fusion, lr, visible)
    truth = clean.repeat_interleave(len(columns) // 2, 0)
    crops = [grow(part, SHOWN) for part in (lr[:, 0], lr[:, -1], visible[:, 0])]
    faces = [resample(part, SHOWN) for part in (alone.hr, fused.hr, fused.evidence, truth)]
    return [part.expand(-1, 3, -1, -1) for part in (*crops, *faces)]


def cases(clean: torch.Tensor, who: int, size: int, bank: Bank) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Crops `(1, 8, 3, size, size)` and their visibility, of the face in row `who` of `clean` (2, 3, 128, 128)."""
    gen = torch.Generator().manual_seed(SEED)
    face, other = clean[who : who + 1], clean[1 - who :][:1]

    def track(kind: str, of: torch.Tensor, **ask) -> tuple[torch.Tensor, torch.Tensor]:
        found = draw_track(kind, of, None, bank, gen, frames=MOST, size=size, **ask)
        return found.lr, found.visible

    masked, _ = track("mask", face)
    brow = torch.ones_like(face[:, :1])
    brow[:, :, 52:] = 0
    hidden, _ = track("mask", face * brow)
    mine, seen = track("moving", face)
    theirs, of_theirs = track("moving", other)
    half = MOST // 2
    turned = similarity(
        angle=torch.full((MOST - 1,), math.radians(28)),
        scale=torch.full((MOST - 1,), 1.15),
        shift=torch.full((MOST - 1, 2), 10.0),
    )
    askew = resample(warp(face.expand(MOST - 1, -1, -1, -1), turned), size)[None]
    return [
        (masked, torch.ones_like(seen)),
        (hidden * resample_map(brow, size), resample_map(brow, size).expand_as(seen)),
        (torch.cat([mine[:, :half], theirs[:, half:]], 1), torch.cat([seen[:, :half], of_theirs[:, half:]], 1)),
        (torch.cat([mine[:, :1], askew], 1), torch.cat([seen[:, :1], torch.ones_like(seen[:, 1:])], 1)),
        track("camera", face**2.2 * 0.6, native=size),
    ]


if __name__ == "__main__":
    main()
