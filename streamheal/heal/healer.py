"""From a track's gallery to a healed face: occlusion → restore → embed, batched across all tracks."""

from collections.abc import Sequence
from dataclasses import replace

import cv2

import streamheal
from streamheal.config import PipelineConfig
from streamheal.heal.device import runtime
from streamheal.heal.embedder import Embedder
from streamheal.heal.occlusion import OcclusionSegmenter
from streamheal.heal.restorer import SIZE, Restorer
from streamheal.records import FaceCrop, HealedFace, HealJob, ModelUsed, Provenance, SourceFrame


class Healer:
    """Heals many tracks in one call. Never raises for a single face: what can't be restored is published as it is."""

    def __init__(self, config: PipelineConfig, detector: ModelUsed, segmenter: OcclusionSegmenter | None = None):
        self._settings, self._shaping = config.restorer, config.shaping()
        self._shaping["runtime"] = runtime(config.restorer.device)
        self._detector = detector
        self._segmenter = segmenter or OcclusionSegmenter(config.occlusion.weights, config.restorer.device)
        milliseconds = config.restorer.budget_ms
        self._restorer = Restorer(
            config.restorer.system,
            config.restorer.device,
            config.restorer.batch,
            budget=milliseconds and milliseconds / 1000,
        )
        self._embedder = Embedder(config.embedder.weights, config.restorer.device)

    def heal(self, jobs: Sequence[HealJob], *, restoring: bool = True) -> list[HealedFace]:
        """One healed face a job, in order. `restoring=False` abstains on all: at a stop, when no time is left."""
        if not restoring:  # nor is there time to look at the whole gallery
            jobs = [replace(job, crops=job.crops[:1]) for job in jobs]
        jobs = self._look(jobs)
        bests = [job.best for job in jobs]
        reasons = [self._why_not(crop) if restoring else "stopped before it could be restored" for crop in bests]
        todo = [i for i, why in enumerate(reasons) if why is None]
        made = self._restorer.restore([bests[i].image for i in todo], [bests[i].visible for i in todo])
        own = self._embedder.embed([crop.image for crop in bests])
        new = self._embedder.embed(list(made.pictures))
        place = {job: row for row, job in enumerate(todo)}
        healed = []
        for i, job in enumerate(jobs):
            row = place.get(i)
            restored = None if row is None else made.pictures[row]
            model, why = (None, reasons[i]) if row is None else (made.models[row], made.reasons[row])
            evidence = (
                cv2.resize(job.best.visible, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
                if row is None
                else made.evidence[row]
            )
            healed.append(
                HealedFace(
                    job=job,
                    original=job.best.image,
                    embedding_original=own[i],
                    visible=job.best.visible,
                    restored=restored,
                    evidence=evidence,
                    embedding_restored=None if row is None else new[row],
                    drift=None if row is None else float(1 - own[i] @ new[row]),
                    abstained=reasons[i],
                    provenance=self._provenance(job, model, why),
                    marked=self._settings.mark,
                )
            )
        return healed

    def _look(self, jobs: Sequence[HealJob]) -> list[HealJob]:
        """The jobs with every crop's visibility known, and the crop first that is best by it."""
        looked = iter(self._segmenter.look([crop for job in jobs for crop in job.crops]))
        known = [[next(looked) for _ in job.crops] for job in jobs]
        orders = [sorted(crops, key=lambda crop: crop is not max(crops, key=_score)) for crops in known]
        return [replace(job, crops=tuple(crops)) for job, crops in zip(jobs, orders, strict=True)]

    def _why_not(self, crop: FaceCrop) -> str | None:
        least = self._settings.abstain_below
        if crop.quality.visible < least:
            return f"only {crop.quality.visible:.0%} of the face is visible; at least {least:.0%} is asked for"
        yaw, most = abs(crop.quality.yaw), self._settings.max_yaw
        if yaw > most:
            return f"the face is turned {yaw:.0f}° to the side; at most {most:.0f}° can be restored"
        return None

    def _provenance(self, job: HealJob, restorer: ModelUsed | None, reason: str) -> Provenance:
        models = [self._detector, self._segmenter.model, self._embedder.model]
        if restorer:
            models.insert(2, restorer)
        return Provenance(
            software=f"streamheal {streamheal.__version__}",
            models=tuple(models),
            source_frames=(job.best.sequence,),
            restorer=restorer.name if restorer else "none",
            restorer_reason=reason if restorer else f"abstained: {reason}",
            settings=self._shaping,
            sources=(SourceFrame.of(job.best),),
        )


def _score(crop: FaceCrop) -> float:
    return crop.quality.score
