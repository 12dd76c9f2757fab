"""A healed face with every field set, the same on every machine: what the tests of this folder publish."""

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
    *,
    camera: str = "door",
    track: int = 7,
    revision: int = 2,
    run: str = "run-1",
    side: int = 19,
    abstained: str | None = None,
    marked: bool = True,
    noise: bool = False,
    calibrated: bool = False,
) -> HealedFace:
    """`side` is the original's native size; with `noise` its pixels are random and hardly compress; `calibrated`: with
    all that calibration adds, and the mean embedding of a track."""
    y, x = np.mgrid[0:side, 0:side]
    original = np.stack([(x * 13 + y) % 256, (y * 11 + track) % 256, (x * y + revision) % 256], -1).astype(np.uint8)
    if noise:
        original = np.random.default_rng(track).integers(0, 256, original.shape, np.uint8)
    visible = (y < side * 0.6).astype(np.float32)
    yy, xx = np.mgrid[0:128, 0:128]
    restored = np.stack([(xx * 2) % 256, (yy * 2) % 256, (xx + yy) % 256], -1).astype(np.uint8)
    evidence = (1 - yy / 127.0).astype(np.float32)
    embedding = np.array([0.5, -0.5, 0.5, 0.5, 0, 0, 0, 0], np.float32)  # length 1, exact in binary
    crops = tuple(
        FaceCrop(
            camera=camera,
            epoch=1,
            track=track,
            sequence=sequence,
            captured_at=1_790_000_000.25 + sequence / 25,
            clock="sender",
            clock_uncertainty=0.04,
            image=original,
            affine=np.array([[0.5, 0.1, -20.0], [-0.1, 0.5, -30.25]]),
            box=np.array([100.5, 50.25, 119.5, 72.0], np.float32),
            landmarks=np.array([[6, 7], [12, 7], [9, 10], [7, 13], [11, 13]], np.float32),
            detector_score=0.75,
            quality=Quality(19.0, 0.5, -12.5, 3.0, 1.5, 0.875, 0.625, 0.5),
            visible=visible,
        )
        for sequence in (40, 31)
    )
    matches = [Match(8.0 - k, -2.5, 0.5, 0.75 - k / 4) for k in range(3)]
    kept = None if abstained else 0.625
    added = {
        "embedding_track": np.array([0, 0, 0.5, -0.5, 0.5, 0.5, 0, 0], np.float32),
        "identity": Identity(*matches[:2], None if abstained else matches[2], kept),
        "hallucinated": None if abstained else evidence < 0.5,
        "expected_error": None if abstained else ExpectedError(20.5, 61.25),
    }
    return HealedFace(
        job=HealJob(
            run=run,
            camera=camera,
            epoch=1,
            track=track,
            revision=revision,
            reason="improved",
            crops=crops,
            first_seen=1_790_000_000.0,
            last_seen=1_790_000_002.5,
            frames=51,
        ),
        original=original,
        embedding_original=embedding,
        visible=visible,
        restored=None if abstained else restored,
        evidence=evidence,
        embedding_restored=None if abstained else embedding[::-1].copy(),
        drift=None if abstained else 0.125,
        abstained=abstained,
        provenance=Provenance(
            software="streamheal 0.1.0",
            models=(ModelUsed("restorer", "lr-trunk-16", "ab" * 32), ModelUsed("embedder", "compact", "cd" * 32)),
            source_frames=(40, 31),
            restorer="lr-trunk",
            restorer_reason="the default",
            settings={"tile": "16", "source": "rtsp://user:hunter2@camera/1"},
        ),
        marked=marked,
        **(added if calibrated else {}),
    )
