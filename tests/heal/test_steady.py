"""What was drawn of a live track before steadies what is drawn now, and says so; recordings remember nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from streamheal import pipeline_file
from streamheal.heal import steady
from streamheal.heal.healer import Healer
from streamheal.heal.networks.layers import resample
from streamheal.heal.networks.steady import SHARE, Drawn, steadied
from streamheal.heal.networks.warping import similarity, warp
from streamheal.records import HealedFace, ModelUsed
from tests.heal.crops import shrunk
from tests.heal.test_healer import job


@pytest.fixture(scope="module")
def faces(portrait) -> torch.Tensor:
    return torch.from_numpy(portrait).permute(2, 0, 1)[None].float() / 255


def drawn(lr_of: torch.Tensor, hr: torch.Tensor, evidence: float = 1.0) -> Drawn:
    return Drawn(hr, torch.full((1, 1, 128, 128), evidence), resample(lr_of, 16), torch.ones(1, 1, 16, 16))


def inner(pictures: torch.Tensor) -> torch.Tensor:
    return pictures[..., 24:-24, 24:-24]


class TestSteadied:
    def test_what_was_drawn_before_counts_by_its_share(self, faces):
        made, share = steadied(drawn(faces, faces * 0 + 0.2), drawn(faces, faces * 0 + 0.7))
        assert inner(made.hr).mean() == pytest.approx(0.2 + SHARE * 0.5, abs=0.01)
        assert share.item() == pytest.approx(SHARE, abs=0.01)

    def test_it_is_laid_onto_the_face_of_now(self, faces):
        map = similarity(
            angle=torch.tensor([0.02]), scale=torch.tensor([1.01]), shift=torch.tensor([[5.0, -6.0]]), side=128
        )
        moved = warp(faces, map, mode="bicubic").clamp(0, 1)
        made, _ = steadied(drawn(moved, moved), drawn(faces, faces))
        assert (inner(made.hr) - inner(moved)).abs().mean() < 0.01
        assert (inner(faces) - inner(moved)).abs().mean() > 0.03

    def test_what_is_seen_now_is_not_covered_by_what_was_invented(self, faces):
        now, guess = drawn(faces, faces, evidence=1.0), drawn(faces, faces * 0, evidence=0.0)
        assert (steadied(now, guess)[0].hr - faces).abs().max() < 0.12
        seen_before = steadied(drawn(faces, faces * 0, evidence=0.0), now)[0]
        assert (inner(seen_before.hr) - inner(faces)).abs().max() < 0.05
        assert inner(seen_before.evidence).min() > 0.9

    def test_a_face_that_does_not_fit_has_no_share(self, faces):
        made, share = steadied(drawn(faces, faces), drawn(faces.flip(2), faces * 0))
        assert share.item() == 0
        assert torch.equal(made.hr, faces)


def healer_of(folder, source: str) -> Healer:
    path = folder / "p.yaml"
    path.write_text(f"source: {source}\n")
    return Healer(pipeline_file.load(path), ModelUsed("detector", "none", "0" * 64))


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    return tmp_path_factory.mktemp("live"), "{cameras: [{name: c, url: 'rtsp://c.example/s'}]}"


def revisions(healer: Healer, *crops: np.ndarray, track: int = 1) -> list[HealedFace]:
    """One after the other, each of one crop, of frames 0, 1, …"""
    made = []
    for number, crop in enumerate(crops):
        given = job([crop], track)
        of = replace(given.crops[0], sequence=number)
        made += healer.heal([replace(given, revision=number + 1, reason="improved", crops=(of,))])
    return made


@pytest.mark.parametrize("side", [16, 40])
def test_a_live_track_s_next_revision_is_steadied_and_says_by_what(live, portrait, side):
    one, other = shrunk(portrait, side), shrunk(np.roll(portrait, 3, 1), side)
    first, second = revisions(healer_of(*live), one, other)
    [alone] = revisions(healer_of(*live), other)
    assert "steadied" not in first.provenance.restorer_reason
    assert second.provenance.restorer_reason.endswith("; steadied by what was drawn of the track before")
    assert second.provenance.source_frames == (1, 0)
    assert [source.sequence for source in second.provenance.sources] == [1, 0]
    assert not np.array_equal(second.restored, alone.restored)
    assert np.array_equal(second.original, other), "the crop itself is never touched"
    assert second.drift == pytest.approx(1 - second.embedding_original @ second.embedding_restored, abs=1e-6)


def test_frames_leave_the_provenance_when_next_to_nothing_is_left_of_them(live, portrait):
    made = revisions(healer_of(*live), *[shrunk(portrait, 16)] * 12)
    assert made[2].provenance.source_frames[0] == 2 and set(made[2].provenance.source_frames) == {0, 1, 2}
    assert 0 not in made[-1].provenance.source_frames
    assert made[-1].provenance.source_frames[0] == 11


@pytest.mark.parametrize("other", ["another track", "too large", "no likeness"])
def test_another_face_is_not_steadied(live, portrait, other):
    healer, crop = healer_of(*live), shrunk(portrait, 16)
    if other == "another track":
        [face] = [revisions(healer, crop), revisions(healer, crop, track=2)][1]
    elif other == "too large":
        face = revisions(healer, shrunk(portrait, 49), shrunk(portrait, 49))[1]
    else:
        face = revisions(healer, crop[::-1].copy(), crop)[1]
    assert "steadied" not in face.provenance.restorer_reason


def test_a_recording_s_revision_is_what_it_would_be_alone(tmp_path, portrait):
    crops = shrunk(portrait, 16), shrunk(np.roll(portrait, 3, 1), 16)
    together = revisions(healer_of(tmp_path, "{path: x}"), *crops)[1]
    alone = revisions(healer_of(tmp_path, "{path: x}"), crops[1])[0]
    assert np.array_equal(together.restored, alone.restored)
    assert "steadied" not in together.provenance.restorer_reason


def test_with_the_track_its_memory_ends(live, portrait):
    healer, crop = healer_of(*live), shrunk(portrait, 16)
    revisions(healer, crop)
    assert len(healer._steady._last) == 1
    [face] = healer.heal([job([crop])])
    assert face.job.reason == "ended" and "steadied" in face.provenance.restorer_reason
    assert not healer._steady._last


def test_only_the_last_tracks_are_remembered(live, portrait, monkeypatch):
    monkeypatch.setattr(steady, "TRACKS", 2)
    healer, crop = healer_of(*live), shrunk(portrait, 16)
    for track in (1, 2, 3):
        revisions(healer, crop, track=track)
    assert "steadied" not in revisions(healer, crop, track=1)[0].provenance.restorer_reason
    assert "steadied" in revisions(healer, crop, track=3)[0].provenance.restorer_reason
