"""Which crops are kept, and when a track is published."""

from dataclasses import replace

import numpy as np
import pytest

from streamheal.faces import coverage
from streamheal.faces.alignment import TEMPLATE
from streamheal.faces.gallery import Galleries
from streamheal.faces.tracker import Tracker
from streamheal.records import Frame
from tests.faces import portrait
from tests.faces.portrait import astronaut, face

FPS = 25


def frame(image, sequence, time=None, epoch=0, corrupt=False):
    time = sequence / FPS if time is None else time
    return Frame("door", epoch, sequence, time, time, "media", 0.0, image, corrupt)


class Scene:
    """One camera: a tracker and its galleries, fed with the portrait in given sizes and blurs."""

    def __init__(self, fps=FPS, **settings):
        self.fps, self.tracker = fps, Tracker(confirm_after=0.2, lost_after=1.0)
        self.galleries = Galleries("run1", "door", **settings)
        self.sequence, self.jobs = 0, []

    def show(self, count=1, size=24, score=0.9, corrupt=False, landmarks=None, epoch=0, hidden=None, **how):
        """The same picture `count` times; None as size: nobody is there. `hidden`: see `portrait.hidden`."""
        image, points = astronaut(size or 24, **how)
        if hidden:
            image = portrait.hidden(image, points, hidden)
        faces = [face(points if landmarks is None else landmarks, score)] if size else []
        for _ in range(count):
            given = frame(image, self.sequence, self.sequence / self.fps, epoch=epoch, corrupt=corrupt)
            self.jobs += self.galleries.add(given, self.tracker.update(given.captured_at, faces))
            self.sequence += 1
        return self

    def finish(self):
        self.jobs += self.galleries.finish()
        return self

    def story(self):
        return [(job.track, job.revision, job.reason) for job in self.jobs]


def test_a_track_is_published_when_confirmed_and_when_it_ends():
    scene = Scene().show(5)
    assert scene.story() == []
    scene.show(1)
    assert scene.story() == [(1, 1, "confirmed")]
    scene.show(20).show(30, size=None)
    assert scene.story() == [(1, 1, "confirmed"), (1, 2, "ended")]
    last = scene.jobs[-1]
    assert (last.frames, last.first_seen, last.last_seen) == (26, 0, 1.0)
    assert last.id == "run1/door/0/1/2"


def test_the_end_of_the_stream_ends_tracks_once():
    scene = Scene().show(10).finish().finish()
    assert scene.story() == [(1, 1, "confirmed"), (1, 2, "ended")]


def test_a_crop_says_where_it_comes_from():
    scene = Scene().show(7)
    crop = scene.jobs[0].best
    assert (crop.camera, crop.epoch, crop.track, crop.clock) == ("door", 0, 1, "media")
    assert crop.image.shape == (24, 24, 3)
    assert crop.quality.size == pytest.approx(24, rel=0.01)
    assert crop.captured_at == crop.sequence / FPS
    _, points = astronaut(24)
    back = points @ crop.affine[:, :2].T + crop.affine[:, 2]
    np.testing.assert_allclose(back, crop.landmarks, atol=1e-3)
    assert crop.visible is None


def test_the_best_crop_comes_first_and_there_are_never_more_than_size():
    rng, scene = np.random.default_rng(0), Scene(size=4)
    for size in rng.integers(14, 60, 40):
        scene.show(1, size=size)
    (job,) = scene.finish().jobs[-1:]
    scores = [crop.quality.score for crop in job.crops]
    assert len(scores) == 4
    assert scores[0] == max(scores)


def test_the_best_crop_of_a_track_is_in_the_gallery_whenever_it_came():
    for when in (0, 7, 39):
        scene = Scene(size=3)
        for n in range(40):
            scene.show(1, size=48 if n == when else 24)
        assert scene.galleries.crops(1)[0].sequence == when


def test_a_better_crop_is_published_once_the_interval_has_passed():
    scene = Scene(improve_by=0.1, min_interval=2.0).show(20, size=16)
    scene.show(20, size=48)
    assert scene.story() == [(1, 1, "confirmed")]  # 0.8 s after the first publication is too soon
    scene.show(40, size=48)
    assert scene.story() == [(1, 1, "confirmed"), (1, 2, "improved")]
    first, second = scene.jobs
    assert second.best.quality.score >= first.best.quality.score + 0.1
    times = [max(c.sequence for c in job.crops) for job in scene.jobs]
    assert times[0] == 5
    assert second.last_seen == pytest.approx(first.last_seen + 2.0)


def test_a_little_better_is_not_worth_publishing():
    scene = Scene(improve_by=0.1, min_interval=1.0).show(40, size=40)
    scene.show(60, size=42)
    assert scene.story() == [(1, 1, "confirmed")]


def test_corrupt_frames_give_no_crops_but_keep_the_track():
    scene = Scene().show(20, corrupt=True)
    assert scene.story() == []
    scene.show(1)
    assert scene.story() == [(1, 1, "confirmed")]
    assert [crop.sequence for crop in scene.jobs[0].crops] == [20]
    assert scene.jobs[0].frames == 21


def test_a_track_without_crops_is_never_published():
    scene = Scene(min_crop=16).show(40, size=14).finish()
    assert scene.story() == []


def test_landmarks_that_are_no_face_give_no_crops():
    mirrored = TEMPLATE * [-0.2, 0.2] + [180, 100]
    assert Scene().show(20, landmarks=mirrored).finish().story() == []


def test_an_unconfirmed_track_is_never_published_and_forgotten():
    scene = Scene().show(2).show(40, size=None)
    assert scene.story() == []
    assert scene.galleries.crops(1) == ()


def test_nothing_is_held_of_a_track_that_ended():
    scene = Scene().show(10).show(40, size=None)
    assert scene.story()[-1] == (1, 2, "ended")
    assert scene.galleries.crops(1) == ()


def test_neighbouring_frames_do_not_fill_the_gallery():
    """A second of better crops after four seconds of good ones: both are kept."""
    scene = Scene(size=4).show(100, size=24).show(25, size=30)
    times = sorted(crop.captured_at for crop in scene.galleries.crops(1))
    assert times[0] < 2
    assert times[-1] > 4
    assert min(np.diff(times)) > 0.3


def test_another_pose_is_kept_though_it_scores_less():
    _, points = astronaut(32)
    to_the_left = points - (np.arange(5)[:, None] == 2) * [2.0, 0]
    scene = Scene(size=3).show(10, size=32).show(3, size=32, landmarks=to_the_left).show(30, size=32)
    yaws = [crop.quality.yaw for crop in scene.galleries.crops(1)]
    assert max(yaws) - min(yaws) > 10


def test_much_worse_crops_are_not_kept_for_being_different():
    scene = Scene(size=3).show(10, size=64).show(50, size=12)
    assert {round(crop.quality.size) for crop in scene.galleries.crops(1)} == {64}


def test_a_new_epoch_ends_the_tracks_under_the_old_one():
    scene = Scene().show(10)
    scene.tracker.reset()
    scene.finish().show(10, epoch=1).finish()
    assert [job.id for job in scene.jobs] == [f"run1/door/{n}" for n in ("0/1/1", "0/1/2", "1/2/1", "1/2/2")]


def test_a_replay_gives_the_same_jobs():
    def run():
        rng, scene = np.random.default_rng(5), Scene(size=3, min_interval=0.4, improve_by=0.02)
        for size in np.sort(rng.integers(13, 40, 50)):
            scene.show(1, size=size if rng.random() < 0.8 else None)
        return [(job.id, job.reason, [c.sequence for c in job.crops]) for job in scene.finish().jobs]

    assert run() == run()
    assert any(reason == "improved" for _, reason, _ in run())


def test_several_people_are_published_in_the_order_of_their_tracks():
    image, points = astronaut(24)
    tracker, galleries, story = Tracker(), Galleries("run1", "door"), []
    for n in range(10):
        faces = [face(points + np.array([40 * k, 0])) for k in ((2, 0, -2) if n == 0 else (0, -2, 2))]
        jobs = galleries.add(frame(image, n), tracker.update(n / FPS, faces))
        story += [(job.track, job.revision, job.reason) for job in jobs]
    assert story == [(k, 1, "confirmed") for k in (1, 2, 3)]
    assert [job.track for job in galleries.finish()] == [1, 2, 3]


def test_a_clock_set_back_does_not_silence_a_track():
    scene = Scene(min_interval=2.0).show(10, size=16)
    image, points = astronaut(48)
    late = replace(frame(image, 11), captured_at=-3600.0)
    jobs = scene.galleries.add(late, scene.tracker.update(-3600.0, [face(points)]))
    assert [job.reason for job in jobs] == ["improved"]


@pytest.fixture(scope="module")
def look():
    """What finds out what is hidden, in a run."""
    from streamheal.heal.occlusion import OcclusionSegmenter

    return OcclusionSegmenter(device="cpu").look


def shown_together(crops) -> float:
    """Share of the face that some of the crops shows."""
    return float(np.max([coverage.shown(crop) for crop in crops], axis=0) @ coverage.oval_cells())


def test_a_hand_that_moves_away_three_times_for_a_moment_is_remembered(look):
    scene = Scene(fps=5, size=4, look=look)
    for _ in range(3):
        scene.show(9, hidden="lower", size=60).show(1, size=14, blur=0.8)
    scene.show(9, hidden="lower", size=60)
    crops = scene.galleries.crops(1)
    assert {9, 19, 29} & {crop.sequence for crop in crops}
    assert shown_together(crops) > 0.9
    assert max(crop.quality.size for crop in crops) > 30, "beside the sharpest"


def test_of_a_face_that_shows_one_half_at_a_time_both_halves_are_kept(look):
    scene = Scene(fps=5, size=3, look=look)
    scene.show(6, hidden="lower", size=60).show(1, hidden="upper", size=18).show(14, hidden="lower", size=60)
    crops = scene.galleries.crops(1)
    assert 6 in [crop.sequence for crop in crops]
    assert max(crop.quality.visible for crop in crops) < 0.65
    assert shown_together(crops) > 0.9


def test_every_beginning_of_a_gallery_shows_as_much_as_so_many_crops_can(look):
    scene = Scene(size=4, look=look).show(10, hidden="lower", size=40).show(1, hidden="upper", size=30)
    scene.show(10, hidden="lower", size=41)
    crops = scene.galleries.crops(1)
    assert crops[0].quality.score == max(crop.quality.score for crop in crops)
    assert shown_together(crops[:2]) > 0.9, "the other half comes second, whatever it scores"


def test_a_track_is_published_anew_when_it_shows_more_of_the_face(look):
    scene = Scene(size=4, look=look, min_interval=1.0).show(20, hidden="upper", size=32)
    scene.show(40, hidden="lower", size=32)
    assert scene.story() == [(1, 1, "confirmed"), (1, 2, "improved")]
    first, second = scene.jobs
    assert second.best.quality.score < first.best.quality.score + 0.1, "not for a better crop"
    assert shown_together(second.crops) > shown_together(first.crops) + 0.3


def test_what_stays_as_it_is_is_looked_at_now_and_then(look):
    scene = Scene(size=4, look=look).show(100, hidden="lower", size=32)
    galleries = scene.galleries
    assert galleries.looked_at + galleries.passed_over == 100
    assert galleries.looked_at < 30
    before = galleries.looked_at
    scene.show(1, size=32)
    assert galleries.looked_at == before + 1, "but what changed is looked at at once"


def test_crops_know_what_is_visible_on_them_and_the_score_counts_it(look):
    (job,) = Scene(look=look).show(6, hidden="lower", size=32).jobs
    for crop in job.crops:
        assert crop.visible.shape == crop.image.shape[:2]
        assert 0.4 < crop.quality.visible < 0.6
    (open_face,) = Scene().show(6, size=32).jobs
    assert job.best.quality.score < 0.6 * open_face.best.quality.score


def test_a_replay_gives_the_same_crops_with_the_same_maps(look):
    def run():
        rng, scene = np.random.default_rng(5), Scene(size=3, min_interval=0.4, improve_by=0.02, look=look)
        for size in np.sort(rng.integers(13, 40, 30)):
            scene.show(1, size=size, hidden=rng.choice(["lower", "upper", ""]))
        return [(job.id, [(c.sequence, c.visible.tobytes()) for c in job.crops]) for job in scene.finish().jobs]

    assert run() == run()


def test_settings_come_from_the_config():
    from streamheal.config import Gallery

    galleries = Galleries.from_config("run1", "door", Gallery(size=5, min_crop=20))
    assert (galleries.size, galleries.min_crop, galleries.improve_by) == (5, 20, Gallery().improve_by)
