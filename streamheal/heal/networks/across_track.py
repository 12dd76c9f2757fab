"""A restorer and what brings a track's crops together, as one."""

import torch
from torch import nn

from streamheal.heal.networks.restored import Restored
from streamheal.heal.networks.track_fusion import Fused, TrackFusion


def restore_track(
    network: nn.Module,
    fusion: TrackFusion | None,
    lr: torch.Tensor,
    visible: torch.Tensor,
    valid: torch.Tensor,
    quality: torch.Tensor | None = None,
) -> tuple[Restored, Fused]:
    """The first crop of each track restored by `network`, with what the others show.

    fusion: what brings them together; None: the network's own. lr (B, T, 3, s, s) and visible (B, T, 1, s, s) in
    [0, 1], s = network.lr_size; valid (B, T) bool, False for padding; quality (B, T) in [0, 1]. Where a track has one
    valid crop, the result is exactly what `network` makes of it alone.

    Raises ValueError where the network has no fusion of its own and none is given.
    """
    fusion = fusion or getattr(network, "fusion", None)
    if fusion is None:
        raise ValueError(f"{type(network).__name__} has no fusion of its own: give one")
    fused = fusion(lr, visible, valid, quality)
    if fused.features is None:
        return network(fused.lr, fused.visible), fused
    return network(fused.lr, fused.visible, fused), fused
