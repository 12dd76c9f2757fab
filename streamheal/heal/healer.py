"""From a track's gallery to a healed face: occlusion → embed → restore across the track, batched over all tracks."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

import streamheal
from streamheal.calibration import quality_weighted_mean
from streamheal.config import PipelineConfig
from streamheal.heal.device import runtime
from streamheal.heal.embedder import Embedder
from streamheal.heal.helping import may_help, of_one_person
from streamheal.heal.honesty import Honesty
from streamheal.heal.occlusion import OcclusionSegmenter, visible_share
from streamheal.heal.restorer import SIZE, RestoredFace, Restorer
from streamheal.heal.steady import Steady
from streamheal.heal.tracks import View
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
            across_track=config.restorer.across_track,
        )
        self._steady = Steady() if config.source.live and config.restorer.steady else None
        self._embedder = Embedder(config.embedder.weights, config.restorer.device)
        self._honesty = Honesty(self._embedder.model, self._segmenter.model, self._restorer.models)
        self._shaping |= self._honesty.settings

    def heal(self, jobs: Sequence[HealJob], *, restoring: bool = True) -> list[HealedFace]:
        """One healed face a job, in order. `restoring=False` abstains on all: at a stop, when no time is left.

        A track's best crop is restored with what its others show. When a live track is published, these are of the
        past; the last revision of any track has all of them. Nothing else differs between live and recorded.
        """
        if not restoring:  # nor is there time to look at the whole gallery
            jobs = [replace(job, crops=job.crops[:1]) for job in jobs]
        jobs = self._look(jobs)
        originals = self._embed_crops(jobs)
        same = [of_one_person(embeddings) for embeddings in originals]
        teams = [may_help(job.crops, fits) for job, fits in zip(jobs, same, strict=True)]
        reasons = [self._why_not(job.best) if restoring else "stopped before it could be restored" for job in jobs]
        todo = [i for i, why in enumerate(reasons) if why is None]
        made = dict(zip(todo, self._restorer.restore([_views(teams[i]) for i in todo]), strict=True))
        for i, face in list(made.items()):
            if reason := self._too_hidden(jobs[i].best, face):
                reasons[i] = reason
                del made[i]
        earlier = {}
        if self._steady:
            for i, face in made.items():
                made[i], earlier[i] = self._steady.steady(jobs[i], teams[i], originals[i][0], face)
        new = dict(zip(made, self._embedder.embed([face.picture for face in made.values()]), strict=True))
        healed = []
        for i, job in enumerate(jobs):
            face, own = made.get(i), originals[i][0]
            scores = [crop.quality.score for crop in job.crops]
            mean = quality_weighted_mean(originals[i][same[i]], np.array(scores)[same[i]])
            drift = float(1 - own @ new[i]) if face else None
            healed.append(
                HealedFace(
                    job=job,
                    original=job.best.image,
                    embedding_original=own,
                    visible=job.best.visible,
                    restored=face.picture if face else None,
                    evidence=face.evidence if face else _enlarged(job.best.visible),
                    embedding_restored=new.get(i),
                    drift=drift,
                    abstained=reasons[i],
                    provenance=self._provenance(teams[i], face, reasons[i], earlier.get(i, ())),
                    marked=self._settings.mark,
                    embedding_track=mean,
                    **self._honesty.about(job.best, face, drift, track=mean is not None),
                )
            )
        return healed

    def _look(self, jobs: Sequence[HealJob]) -> list[HealJob]:
        """The jobs with every crop's visibility known, and the crop first that is best by it."""
        looked = iter(self._segmenter.look([crop for job in jobs for crop in job.crops]))
        known = [[next(looked) for _ in job.crops] for job in jobs]
        bests = [max(crops, key=lambda crop: crop.quality.score) for crops in known]
        return [
            replace(job, crops=(best, *(crop for crop in crops if crop is not best)))
            for job, crops, best in zip(jobs, known, bests, strict=True)
        ]

    def _embed_crops(self, jobs: Sequence[HealJob]) -> list[np.ndarray]:
        """(K, D) for each job."""
        embeddings = self._embedder.embed([crop.image for job in jobs for crop in job.crops])
        return np.split(embeddings, np.cumsum([len(job.crops) for job in jobs])[:-1]) if jobs else []

    def _why_not(self, crop: FaceCrop) -> str | None:
        yaw, most = abs(crop.quality.yaw), self._settings.max_yaw
        if yaw > most:
            return f"the face is turned {yaw:.0f}° to the side; at most {most:.0f}° can be restored"
        return None

    def _too_hidden(self, crop: FaceCrop, face: RestoredFace) -> str | None:
        """By what all crops together show: of a face that shows one half at a time, nothing is hidden."""
        least, together = self._settings.abstain_below, len(face.sources) > 1
        share = visible_share(face.visible) if together else crop.quality.visible
        if share >= least:
            return None
        where = f" in {len(face.sources)} crops together" if together else ""
        return f"only {share:.0%} of the face is visible{where}; at least {least:.0%} is asked for"

    def _provenance(
        self,
        team: Sequence[FaceCrop],
        face: RestoredFace | None,
        why_not: str | None,
        earlier: Sequence[SourceFrame],
    ) -> Provenance:
        """`earlier`: frames that came into it by what was drawn before."""
        used = [team[place] for place in face.sources] if face else team[:1]
        sources = (*(SourceFrame.of(crop) for crop in used), *earlier)
        restorers = face.models if face else ()
        return Provenance(
            software=f"streamheal {streamheal.__version__}",
            models=(self._detector, self._segmenter.model, *restorers, self._embedder.model),
            source_frames=tuple(source.sequence for source in sources),
            restorer=restorers[0].name if face else "none",
            restorer_reason=face.reason if face else f"abstained: {why_not}",
            settings=self._shaping,
            sources=sources,
        )


def _views(team: Sequence[FaceCrop]) -> list[View]:
    """As the restorer takes them, each believed as much as it is as clear as the first."""
    clear = max(team[0].quality.clearness, 1e-3)
    return [View(crop.image, crop.visible, min(crop.quality.clearness / clear, 1.0)) for crop in team]


def _enlarged(visible: np.ndarray) -> np.ndarray:
    return cv2.resize(visible, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
