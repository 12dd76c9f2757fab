"""Following faces through crossings, gaps, any frame rate and broken clocks."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamheal.faces.tracker import Tracker, _motion
from streamheal.records import Face


def face(x, y, side, score=0.9):
    width, height = 0.88 * side, 1.14 * side
    box = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2], np.float32)
    return Face(box, np.zeros((5, 2), np.float32), score)


def ids(update):
    return [track.id for track, _ in update.matched]


def follow(tracker, times, *paths):
    """Ids per frame of faces on `paths`: functions of the time that give (x, y, side), with a score too, or None."""
    seen = []
    for t in times:
        there = {n: face(*where) for n, p in enumerate(paths) if (where := p(t)) is not None}
        update = tracker.update(t, list(there.values()))
        owner = {id(f): track.id for track, f in update.matched}
        seen.append([owner.get(id(there[n])) if n in there else None for n in range(len(paths))])
    return seen


def steps(seconds, fps, start=0.0):
    return start + np.arange(round(seconds * fps)) / fps


def walk(x=100.0, y=100.0, vx=0.0, vy=0.0, side=14.0, hidden=(), weak=()):
    """A face in uniform motion; `hidden`, `weak`: (from, to) in seconds."""

    def at(t):
        if any(a <= t < b for a, b in hidden):
            return None
        return x + vx * t, y + vy * t, side, 0.4 if any(a <= t < b for a, b in weak) else 0.9

    return at


def test_a_face_keeps_its_id_and_its_velocity_is_learned():
    tracker = Tracker()
    seen = follow(tracker, steps(2, 25), walk(vx=60, vy=-10))
    assert seen == [[1]] * 50
    (track,) = tracker.tracks
    assert track.velocity == pytest.approx([60, -10], abs=6)
    assert track.box == pytest.approx(face(100 + 60 * 1.96, 100 - 10 * 1.96, 14).box, abs=1.5)
    assert (track.first_seen, track.last_seen, track.frames) == (0, pytest.approx(1.96), 50)


RATES = {
    "5 fps": steps(3, 5),
    "25 fps": steps(3, 25),
    "50 fps": steps(3, 50),
    "irregular": np.cumsum(np.random.default_rng(0).choice([0.02, 0.04, 0.04, 0.12, 0.25], 40)),
}


@pytest.mark.parametrize("times", RATES.values(), ids=RATES.keys())
def test_the_frame_rate_changes_no_id(times):
    crowd = [walk(x=60 * n, y=50 + 30 * (n % 3), vx=20 * (-1) ** n, vy=5 * n - 15, side=12 + n) for n in range(6)]
    seen = follow(tracker := Tracker(), times, *crowd)
    assert seen == [[1, 2, 3, 4, 5, 6]] * len(times)
    assert all(track.confirmed for track in tracker.tracks)


@pytest.mark.parametrize("fps", [5, 25, 50])
def test_faces_that_cross_keep_their_ids(fps):
    seen = follow(
        Tracker(), steps(4, fps), walk(x=40, y=100, vx=60), walk(x=280, y=103, vx=-60, side=16, hidden=[(1.9, 2.1)])
    )
    assert seen[-1] == [1, 2]


@pytest.mark.parametrize("fps", [5, 25])
def test_a_gap_shorter_than_lost_after_keeps_the_id(fps):
    seen = follow(Tracker(lost_after=1.0), steps(4, fps), walk(vx=40, hidden=[(1, 1.75)]))
    assert seen[-1] == [1]


@pytest.mark.parametrize("fps", [5, 25])
def test_a_gap_longer_than_lost_after_ends_the_track(fps):
    tracker, ended = Tracker(lost_after=1.0), []
    path = walk(hidden=[(1, 2.5)])
    for t in steps(4, fps):
        update = tracker.update(t, [face(*w) for w in [path(t)] if w])
        ended += [(track.id, track.last_seen, t) for track in update.ended]
    ((number, last_seen, when),) = ended
    assert number == 1
    assert last_seen == pytest.approx(1 - 1 / fps)
    assert 1 < when - last_seen <= 1 + 1 / fps + 1e-9
    assert [track.id for track in tracker.tracks] == [2]


@pytest.mark.parametrize(("fps", "sides"), [(25, 1.3), (10, 1.5), (5, 1.6)])
def test_a_12_px_face_that_moves_further_than_its_own_size_each_frame_is_followed(fps, sides):
    seen = follow(Tracker(), steps(3, fps), walk(vx=12 * sides * fps, side=12))
    assert seen == [[1]] * len(seen)


def test_weak_detections_keep_a_track_but_begin_none():
    seen = follow(Tracker(), steps(3, 25), walk(weak=[(1, 2.5)]), walk(x=300, weak=[(0, 9)]))
    assert seen == [[1, None]] * 75


def test_detections_below_the_low_score_are_not_used():
    tracker = Tracker(low_score=0.3)
    tracker.update(0, [face(50, 50, 14)])
    assert tracker.update(0.04, [face(50, 50, 14, score=0.29)]).matched == []


@pytest.mark.parametrize("start", [0.0, 1_700_000_000.123], ids=["from 0", "UTC"])
@pytest.mark.parametrize("fps", [5, 25, 50])
def test_a_track_is_confirmed_once_after_confirm_after_seconds(fps, start):
    tracker, confirmed = Tracker(confirm_after=0.4), []
    for n, t in enumerate(steps(2, fps, start)):
        update = tracker.update(t, [face(50, 50, 14)])
        confirmed += [(track.id, n) for track in update.confirmed]
        assert update.matched[0][0].confirmed == (n >= 0.4 * fps)
    assert confirmed == [(1, 0.4 * fps)]


def test_with_confirm_after_0_a_single_picture_is_enough():
    update = Tracker(confirm_after=0).update(0, [face(50, 50, 14)])
    assert [track.id for track in update.confirmed] == [1]


def test_false_detections_that_flicker_are_never_confirmed():
    tracker, rng = Tracker(), np.random.default_rng(0)
    for t in steps(20, 25):
        noise = [face(*rng.uniform(0, 2000, 2), 14) for _ in range(rng.poisson(1))]
        update = tracker.update(t, [face(300, 300, 14), *noise] if rng.random() < 0.9 else noise)
        assert {track.id for track in update.confirmed} <= {1}


def test_after_a_reset_all_tracks_have_ended_and_no_id_comes_back():
    tracker = Tracker()
    follow(tracker, steps(1, 25), walk(), walk(x=200))
    assert [(track.id, track.confirmed) for track in tracker.reset()] == [(1, True), (2, True)]
    assert tracker.tracks == []
    assert follow(tracker, steps(1, 25, start=500), walk(), walk(x=200)) == [[3, 4]] * 25
    assert [track.id for track in tracker.finish()] == [3, 4]
    assert tracker.finish() == []


def test_two_cameras_count_on_their_own():
    cameras = [Tracker(), Tracker()]
    for t in steps(1, 25):
        for n, tracker in enumerate(cameras):
            tracker.update(t, [face(100 + 20 * t, 100, 14)] + [face(300, 100, 14)] * n)
    assert [[track.id for track in tracker.tracks] for tracker in cameras] == [[1], [1, 2]]


@pytest.mark.parametrize(
    "broken",
    [lambda t: t - 3600 * (t > 1), lambda t: 7.0, lambda t: 2 - t, lambda t: t if t < 1 else float("nan")],
    ids=["set back by an hour", "standing still", "running backwards", "not a number"],
)
def test_a_clock_that_does_not_run_forward_counts_as_frames_at_the_last_rate(broken):
    tracker = Tracker()
    for t in steps(2, 25):
        assert ids(tracker.update(broken(t), [face(100 + 30 * t, 100, 14)])) == [1]
    (track,) = tracker.tracks
    assert track.last_seen >= track.first_seen
    assert track.confirmed
    assert any(tracker.update(7.0, []).ended for _ in range(30))  # and lost faces still end


def test_a_face_first_seen_in_a_frame_without_a_time_has_the_last_known_one():
    tracker = Tracker()
    tracker.update(5.0, [])
    tracker.update(float("nan"), [face(50, 50, 14)])
    tracker.update(5.08, [face(50, 50, 14)])
    assert [(track.first_seen, track.last_seen) for track in tracker.tracks] == [(5.0, 5.08)]


def test_a_leap_forward_ends_what_was_followed():
    tracker = Tracker()
    follow(tracker, steps(1, 25), walk())
    assert [track.id for track in tracker.update(3601, [face(400, 300, 14)]).ended] == [1]


def test_boxes_that_are_none_are_left_out():
    empty = Face(np.array([5, 5, 5, 9], np.float32), np.zeros((5, 2), np.float32), 0.9)
    nowhere = Face(np.array([0, 0, np.nan, 9], np.float32), np.zeros((5, 2), np.float32), 0.9)
    assert ids(Tracker().update(0, [empty, face(50, 50, 14), nowhere])) == [1]


def test_settings_come_from_the_config():
    from streamheal.config import Tracker as Settings

    tracker = Tracker.from_config(Settings(lost_after=3, confirm_after=0.5))
    assert (tracker.lost_after, tracker.confirm_after, tracker.match_iou) == (3, 0.5, Settings().match_iou)


def test_two_short_steps_of_the_motion_model_are_one_long_step():
    F1, Q1 = _motion(0.07)
    F2, Q2 = _motion(0.13)
    F, Q = _motion(0.2)
    np.testing.assert_allclose(F2 @ F1, F, atol=1e-12)
    np.testing.assert_allclose(F2 @ Q1 @ F2.T + Q2, Q, atol=1e-9)


def crowd(n, seconds, fps, seed, speed=3.0, frame=(960, 540)):
    """(T, n, 3): x, y, side of `n` faces of 12 to 20 px that wander (`speed` sides a second) and cross all the time."""
    rng, inner = np.random.default_rng(seed), 10
    side, dt = rng.uniform(12, 20, n), 1 / fps / inner
    place, speed = rng.uniform([0, 0], frame, (n, 2)), speed * side[:, None]
    velocity, states = rng.normal(0, 1, (n, 2)) * speed, []
    for step in range(round(seconds * fps) * inner):
        if step % inner == 0:
            states.append(np.column_stack([place, side]))
        velocity += -velocity * dt + rng.normal(0, 1, (n, 2)) * speed * np.sqrt(2 * dt)
        place = place + velocity * dt
        velocity[(place < 0) | (place > frame)] *= -1
        place = place.clip(0, frame)
    return np.array(states)


def detected(state, rng, miss=0.1, noise=0.06):
    """What a detector makes of (n, 3): faces behind larger ones and a tenth of the others are missed, boxes jitter,
    scores waver, and every other frame has a false detection. Faces and whose they are (-1: nobody's)."""
    found, whose = [], []
    for i, (x, y, side) in enumerate(state):
        near = (np.abs(state[:, :2] - [x, y]) < state[:, 2:] * [0.5, 0.6]).all(1)
        if (near & (state[:, 2] > side)).any() or rng.random() < miss:
            continue
        jitter = rng.normal(0, noise, 3)
        score = rng.uniform(0.5, 0.95) if rng.random() < 0.85 else rng.uniform(0.31, 0.49)
        found.append(face(x + jitter[0] * side, y + jitter[1] * side, side * np.exp(jitter[2]), score))
        whose.append(i)
    for _ in range(rng.poisson(0.5)):
        found.append(face(*rng.uniform([0, 0], [960, 540]), rng.uniform(10, 20), rng.uniform(0.3, 0.7)))
        whose.append(-1)
    return found, whose


@pytest.mark.parametrize(("fps", "allowed"), [(25, 3), (5, 10)])
def test_thirty_crossing_tiny_faces_seldom_change_ids(fps, allowed):
    """Six seconds. Measured: no switch in 4004 detections at 25 fps, 6 in 803 at 5 fps."""
    tracker, rng = Tracker(), np.random.default_rng(1)
    last, switches, confirmed, missed, total = {}, 0, set(), 0, 0
    for t, state in zip(steps(6, fps), crowd(30, 6, fps, seed=0), strict=True):
        found, whose = detected(state, rng)
        update = tracker.update(t, found)
        owner = {id(f): track for track, f in update.matched}
        for f, person in zip(found, whose, strict=True):
            if person < 0:
                continue
            total += 1
            track = owner.get(id(f))
            if track is None:
                missed += 1
                continue
            switches += last.setdefault(person, track.id) != track.id
            last[person] = track.id
            confirmed |= {track.id} if track.confirmed else set()
    assert switches <= allowed
    assert missed <= 0.02 * total
    assert 30 <= len(confirmed) <= 30 + allowed


def test_the_same_detections_give_the_same_tracks():
    def run():
        tracker, rng = Tracker(), np.random.default_rng(2)
        states = crowd(15, 2, 10, seed=3)
        updates = [tracker.update(t, detected(s, rng)[0]) for t, s in zip(steps(2, 10), states, strict=True)]
        return [[(track.id, *track.box) for track, _ in u.matched] for u in updates]

    assert run() == run()


boxes = st.tuples(st.floats(-50, 700), st.floats(-50, 500), st.floats(0.5, 400), st.floats(0, 1))


@settings(deadline=None, max_examples=40)
@example([(0.0, [(0.0, 0.0, 257.0, 1.0)]), (3.8e301, [(0.0, 0.0, 36.0, 1.0)])])
@given(st.lists(st.tuples(st.floats(), st.lists(boxes, max_size=8)), max_size=15))
def test_whatever_comes_ids_grow_and_no_face_or_track_is_used_twice(frames):
    tracker, ended = Tracker(), []
    for time, found in frames:
        faces = [face(*b) for b in found]
        update = tracker.update(time, faces)
        assert len(set(ids(update))) == len(update.matched)
        order = [next(i for i, f in enumerate(faces) if f is g) for _, g in update.matched]
        assert order == sorted(set(order))
        assert not set(ids(update)) & set(ended)
        ended += [track.id for track in update.ended]
        for track in tracker.tracks:
            assert np.isfinite(track.box).all()
            assert track.last_seen >= track.first_seen
    ended += [track.id for track in tracker.finish()]
    assert sorted(ended) == list(range(1, len(ended) + 1))
