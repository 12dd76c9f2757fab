"""The project's own trunk: pixels first, then tracks, then who it is and how it looks, then a critic's opinion."""

import torch
from torch import nn

from streamheal.heal.networks.across_track import restore_track
from streamheal.train.criteria import losses
from streamheal.train.criteria.critics import PatchDiscriminator
from streamheal.train.samples.degradation import shrink
from streamheal.train.samples.pairs import misjudge
from streamheal.train.samples.protocols import PROTOCOLS
from streamheal.train.samples.tracks import KINDS, Codec, Tracks, draw_track
from streamheal.train.task import Batch, Context, half, one_of
from streamheal.train.tasks.pairs_task import PairsTask

# `pixel`, L1, alone trains fastest; the others are switched on by recipes that finish a trained network. `squared`
# leads from the median of all faces that could be there to their mean, by which PSNR judges.
WEIGHTS = {
    "pixel": 1.0, "track": 0.0, "completed": 0.3, "squared": 0.0, "identity": 0.0, "perceptual": 0.0,
    "adversarial": 0.0,
}  # fmt: skip
TRACK_SHARES = {"moving": 1.0, "mask": 1.0, "camera": 2.0}
AHEAD = 64  # px at which tracks are drawn: twice the input or more, at a quarter of the cost of 128


class RestorerTask(PairsTask):
    """Pairs of mixed protocols → HR; with a weight for `track`, half of each batch are tracks of several crops, and all
    of it where `pixel` has none. Frozen networks look at tracks first."""

    def __init__(
        self, context: Context, *, frames: int = 8, track_shares: dict[str, float] | None = None,
        alive: float = 0.0, codec: Codec = "h264", **shared,
    ):  # fmt: skip
        """`frames`: most crops of a track. `track_shares`: how often each kind of track is drawn. `alive`: px of 128
        by which parts of a face stray between crops, at most. `codec`: h264 needs PyAV. `shared`: of `PairsTask`. On a
        CPU the identity network, too, costs more than the trunk."""
        super().__init__(context, WEIGHTS, dict.fromkeys(PROTOCOLS, 1.0), **shared)
        self.frames, self.alive, self.codec = frames, alive, one_of("codec", codec, ("h264", "jpeg"))
        shares = track_shares or TRACK_SHARES
        self.track_shares = {one_of("track_shares", kind, KINDS): share for kind, share in shares.items()}
        if self.weights["adversarial"]:
            self.critics.face = PatchDiscriminator(3, width=32)

    def losses(self, network, batch, gen, stage):
        tracks = self._of_tracks(len(batch.pictures))
        whole, still = batch.rows(slice(0, tracks)), batch.rows(slice(tracks, None))
        parts, made = {}, []
        if tracks:
            drawn, parts["completed"] = self._tracks(network, whole, gen)
            parts["track"] = losses.pixel(drawn, whole.pictures)
            made.append(drawn)
        if tracks < len(batch.pictures):
            lr, visible, still = self.draw(still, gen, stage)
            with half(gen.device):
                made.append(network(lr, visible).hr.float())
            parts["pixel"] = losses.pixel(made[-1], still.pictures)
        hr, true = torch.cat(made), torch.cat([whole.pictures, still.pictures])
        if self.weights["squared"]:
            parts["squared"] = losses.squared(hr, true)
        if self.weights["identity"]:
            parts["identity"] = self.identity(self.some(hr).clamp(0, 1), self.some(true))
        if self.weights["perceptual"]:
            parts["perceptual"] = self.perceptual(hr, true)
        parts = {name: self.weights[name] * part for name, part in parts.items()}
        return self.against_critic(parts, hr, true, stage, gen)

    def _of_tracks(self, count: int) -> int:
        """How many of a batch are tracks: half, or all where single crops count for nothing."""
        if not self.weights["track"]:
            return 0
        return count // 2 if self.weights["pixel"] else count

    def _tracks(self, network: nn.Module, batch: Batch, gen: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """HR of each track's first crop, and how far its completed LR crop is from the clean one."""
        kinds = list(self.track_shares)
        weights = torch.tensor([float(n) for n in self.track_shares.values()], device=gen.device)
        kind = kinds[int(torch.multinomial(weights, 1, generator=gen))]
        frames = int(torch.randint(2, self.frames + 1, (), generator=gen, device=gen.device))
        tracks = self._draw(kind, batch, gen, frames, self.alive)
        visible = tracks.visible
        if kind != "moving":  # the segmenter's maps, wrong in each frame in its own way
            visible = misjudge(visible.flatten(0, 1), gen, self.pairs.imperfect).unflatten(0, visible.shape[:2])
        valid = torch.ones(visible.shape[:2], dtype=torch.bool, device=gen.device)
        with half(gen.device):
            made, fused = restore_track(network, None, tracks.lr, visible, valid)
        return made.hr.float(), losses.pixel(fused.lr, shrink(batch.pictures, self.pairs.size, "bicubic"))

    def look(self, network, batch, gen):
        figures, sheet = super().look(network, batch, gen)
        if getattr(network, "fusion", None) is None:
            return figures, sheet
        for kind in self.track_shares:
            tracks = self._draw(kind, batch, gen, frames=8)
            for frames in (1, 4, 8):
                valid = torch.arange(8, device=gen.device).expand(len(tracks.lr), 8) < frames
                hr = restore_track(network, None, tracks.lr, tracks.visible, valid)[0].hr.float()
                error = ((hr - batch.pictures) ** 2).mean((1, 2, 3)).clamp(min=1e-8)
                figures[f"psnr {kind} T={frames}"] = float((-10 * error.log10()).mean())
        return figures, sheet

    def _draw(self, kind: str, batch: Batch, gen: torch.Generator, frames: int, alive: float = 0.0) -> Tracks:
        """Tracks, drawn at a smaller side: a quarter of the work, and more than the input can show."""
        ratio = AHEAD / batch.pictures.shape[-1]
        small, landmarks = shrink(batch.pictures, AHEAD, "area"), (batch.landmarks + 0.5) * ratio - 0.5
        size, bank = self.pairs.size, self.pairs.bank
        more = {"frames": frames, "size": size, "codec": self.codec, "alive": alive}
        return draw_track(kind, small, landmarks, bank, gen, **more)
