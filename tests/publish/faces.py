"""Healed faces for tests of what leaves."""

import numpy as np

from streamheal.records import (
    ExpectedError,
    FaceCrop,
    HealedFace,
    HealJob,
    Identity,
    Match,
    ModelUsed,
    Provenance,
    Quality,
)


def healed_face(
    *, camera="gate", track=12, revision=1, restored=True, run="run", seed=0, side=19, calibrated=False
) -> HealedFace:
    """`calibrated`: with the mean embedding of a track and all that calibration adds."""
    rng = np.random.default_rng(seed)
    quality = Quality(side, 0.5, 10.0, -5.0, 2.0, 0.9, 0.8, 0.6)
    crop = FaceCrop(
        camera=camera, epoch=0, track=track, sequence=41, captured_at=1_790_000_000.25, clock="arrival",
        clock_uncertainty=0.5, image=rng.integers(0, 255, (side, side, 3), np.uint8), affine=np.eye(2, 3),
        box=np.array([10, 20, 30, 40], np.float32), landmarks=rng.uniform(0, side, (5, 2)).astype(np.float32),
        detector_score=0.9, quality=quality, visible=rng.uniform(0, 1, (side, side)).astype(np.float32),
    )  # fmt: skip
    job = HealJob(run, camera, 0, track, revision, "confirmed", (crop,), 1_790_000_000.0, 1_790_000_001.0, 25)
    unit = rng.normal(size=(2, 128)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    added = {
        "embedding_track": np.roll(unit[0], 7),
        "hallucinated": np.arange(128 * 128).reshape(128, 128) >= 80 * 128 if restored else None,
        "expected_error": ExpectedError(31.0, 66.0) if restored else None,
        "identity": Identity(
            Match(9.0, -3.0, 0.45, 0.11), Match(9.5, -3.2, 0.44, 0.14),
            Match(6.0, -2.0, 0.48, 0.12) if restored else None, 0.31 if restored else None,
        ),
    }  # fmt: skip
    return HealedFace(
        job=job, original=crop.image, embedding_original=unit[0], visible=crop.visible,
        restored=rng.integers(0, 255, (128, 128, 3), np.uint8) if restored else None,
        evidence=rng.uniform(0, 1, (128, 128)).astype(np.float32),
        embedding_restored=unit[1] if restored else None, drift=0.3 if restored else None,
        abstained=None if restored else "only 3% of the face is visible",
        provenance=Provenance("streamheal 0", (ModelUsed("restorer", "r", "0" * 64),), (41,), "r", "because"),
        **(added if calibrated else {}),
    )  # fmt: skip
