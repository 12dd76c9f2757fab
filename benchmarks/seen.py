"""Is a restorer short of pictures or of width? PSNR on faces that its training has seen, beside tuning faces.

    python benchmarks/seen.py [NAME or FILE …] --data DIR

A network that has learned its pictures by heart is far better on them. One that is hardly better on them needs width or
time, not pictures. The shards differ in other ways, too, so the gap is an upper bound. Occluders are new to it on both.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from streamheal import weights
from streamheal.heal import networks
from streamheal.train import data
from streamheal.train.evaluation import metrics
from streamheal.train.evaluation.trial import restore
from streamheal.train.samples.bank import Bank
from streamheal.train.samples.protocols import make_pair

SHARDS = {
    128: {"seen": "faces128-train-01", "tuning": "faces128-val"},
    256: {"seen": "faces256-train", "tuning": "faces256-val"},
}
PROTOCOLS = ("fcsr", "ofhnet", "pro-uigan-square", "pro-uigan-irregular", "jdsr", "cctv")
WHOLE = ("fd", "cctv")  # of networks whose input is as large as their output
SEED = 5


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names", nargs="*", default=["lr-trunk-16"], help="shipped restorers, or weights (.safetensors)"
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--faces", type=int, default=160)
    asked = parser.parse_args()
    bank = Bank.draw(SEED, 16, asked.data / "occluders.zip", held_out=True)
    for name in asked.names:
        file = Path(name) if name.endswith(".safetensors") else weights.find(name).path
        network = networks.load(file)
        protocols = WHOLE if network.lr_size == network.hr_size else PROTOCOLS
        print(f"\n| {name} | {' | '.join(protocols)} |\n|---|{'--:|' * len(protocols)}")
        for words, shard in SHARDS[network.hr_size].items():
            faces = data.load(data.shards(asked.data, [shard]), asked.cache)
            found = [f"{psnr(network, faces, protocol, bank, asked.faces):.2f}" for protocol in protocols]
            print(f"| {words} | {' | '.join(found)} |", flush=True)


def psnr(network: torch.nn.Module, faces: data.Faces, protocol: str, bank: Bank, count: int) -> float:
    rows = np.linspace(0, len(faces) - 1, min(count, len(faces))).astype(int)
    hr = torch.from_numpy(faces.pictures(rows)).permute(0, 3, 1, 2).float() / 255
    gen = torch.Generator().manual_seed(SEED)
    landmarks = torch.from_numpy(faces.landmarks[rows])
    lr, visible = make_pair(protocol, hr, landmarks, bank, gen, size=network.lr_size)
    return float(metrics.psnr(restore(network, lr, visible).hr, hr).mean())


if __name__ == "__main__":
    main()
