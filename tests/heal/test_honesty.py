"""What a healed face says of itself follows from the calibrations that ship with the networks in use."""

import hashlib
import logging
from dataclasses import replace

import numpy as np
import pytest

from streamheal import calibration, weights
from streamheal.heal.honesty import Honesty
from streamheal.heal.restorer import RestoredFace
from streamheal.records import FaceCrop, ModelUsed, Quality
from tests.test_calibration import EVIDENCE, KEPT, MATCH

EMBEDDER, SEGMENTER = ModelUsed("embedder", "embedder", "e" * 64), ModelUsed("occlusion", "unet", "o" * 64)
NET, OTHER = ModelUsed("restorer", "net", "a" * 64), ModelUsed("restorer", "other", "b" * 64)
BESIDE = {"embedder": "e" * 64, "occlusion": "o" * 64}
SHIPPED = {
    "embedder": calibration.Calibration("embedder", "e" * 64, {"occlusion": "o" * 64}, {}, original=MATCH, track=MATCH),
    "net": calibration.Calibration("net", "a" * 64, BESIDE, {}, evidence=EVIDENCE, restored=MATCH, kept=KEPT),
}


@pytest.fixture
def find(monkeypatch):
    asked = []
    monkeypatch.setattr(calibration, "find", lambda name, beside: asked.append((name, beside)) or SHIPPED.get(name))
    return asked


def crop(side: int = 20, visible: float = 0.95) -> FaceCrop:
    quality = Quality(side, 0.5, 0, 0, 0, 1, visible, 0.5)
    image = np.zeros((side, side, 3), np.uint8)
    return FaceCrop("c", 0, 1, 0, 0.0, "media", 0.0, image, np.eye(2, 3), np.zeros(4), np.zeros((5, 2)), 0.9, quality)


def face(model: ModelUsed = NET) -> RestoredFace:
    evidence = np.ones((128, 128), np.float32)
    evidence[64:] = 0.1
    return RestoredFace(np.zeros((128, 128, 3), np.uint8), evidence, np.ones((16, 16)), (0,), (model,), "because")


def test_a_restored_face_says_what_was_invented_and_what_each_embedding_is_worth(find):
    said = Honesty(EMBEDDER, SEGMENTER, [NET]).about(crop(), face(), 0.4, track=True)
    assert said["hallucinated"][64:].all() and not said["hallucinated"][:64].any()
    assert (said["expected_error"].seen, said["expected_error"].hallucinated) == (40, 80)
    identity = said["identity"]
    assert identity.original == identity.track == identity.restored == MATCH.at(20, 0.95)
    assert identity.kept == KEPT.at(0.4, 20, 0.95)
    assert find == [("embedder", BESIDE), ("net", BESIDE)]


def test_where_nothing_was_restored_nothing_is_said_of_it(find):
    said = Honesty(EMBEDDER, SEGMENTER, [NET]).about(crop(visible=0.2), None, None, track=False)
    assert set(said) == {"identity"}
    assert (said["identity"].track, said["identity"].restored, said["identity"].kept) == (None, None, None)


def test_a_network_that_was_never_calibrated_marks_nothing_and_the_log_says_so(find, caplog):
    with caplog.at_level(logging.INFO):
        said = Honesty(EMBEDDER, SEGMENTER, [NET, OTHER]).about(crop(), face(OTHER), 0.4, track=False)
    assert set(said) == {"identity"} and said["identity"].restored is None
    assert "other: not calibrated" in caplog.text


def test_provenance_names_each_calibration_in_use_by_the_hash_of_its_file():
    shipped = weights.manifest()
    models = [ModelUsed(shipped[n].kind, n, shipped[n].sha256) for n in ("embedder", "occlusion-unet", "lr-trunk-16")]
    calibrated = [model.name for model in models if calibration.find(model.name)]
    assert Honesty(*models[:2], [*models[2:], OTHER]).settings == {
        f"calibration.{name}": hashlib.sha256(shipped[name].calibration.path.read_bytes()).hexdigest()
        for name in calibrated
    }
    assert "embedder" in calibrated


def test_without_a_calibrated_embedder_no_match_is_given_but_the_mask_is(find, monkeypatch):
    said = Honesty(replace(EMBEDDER, name="mine"), SEGMENTER, [NET]).about(crop(), face(), 0.4, track=True)
    assert said["identity"] is None and said["hallucinated"].any()
