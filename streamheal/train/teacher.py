"""The embedding teacher's weights as the student's starting point: they are the same network, but for the folding."""

from pathlib import Path

import torch

from streamheal import weights

_STAGES = (("conv32", 3), ("conv64", 3), ("conv128", 2), ("conv256", 2), ("conv256_down_out", 0))


def student_weights(path: Path, mean: torch.Tensor) -> dict[str, torch.Tensor]:
    """dlib's network at `path` → a state dict for `heal/networks/embedder.py`.

    Its affine layers are folded into the convolutions before them. `mean` (128,) is taken off the output, see
    `EmbedderTask`. Raises WeightsError if the file is not whole.
    """
    said, _ = weights.load(path)
    out: dict[str, torch.Tensor] = {}

    def fold(target: str, source: str) -> None:
        scale, shift = said[f"{source}.scale.weights"], said[f"{source}.scale.biases"]
        filters = said[f"{source}.conv.filters"].permute(3, 2, 0, 1)  # HWIO → OIHW
        out[f"{target}.weight"] = filters * scale.view(-1, 1, 1, 1)
        out[f"{target}.bias"] = said[f"{source}.conv.bias"] * scale + shift

    fold("enter", "conv32_down")
    for stage, (name, blocks) in enumerate(_STAGES):
        sources = [f"{name}_{block + 1}" for block in range(blocks)]
        if stage:
            sources.insert(0, name if name.endswith("_out") else f"{name}_down")
        for place, source in enumerate(sources):
            for conv in ("conv1", "conv2"):
                fold(f"stages.{stage}.{place}.{conv}", f"{source}.{conv}")
    out["project.weight"], out["project.bias"] = said["fc"].T.contiguous(), -mean
    return out
