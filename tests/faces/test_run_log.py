"""A run log gives back what was put in, up to the byte where it was killed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamheal.errors import SinkError
from streamheal.faces.run_log import RunLog, drop_faces
from streamheal.records import Face


def face(seed: int) -> Face:
    values = np.random.default_rng(seed).uniform(0, 100, 14).astype(np.float32)
    return Face(values[:4], values[4:].reshape(5, 2), float(np.float32(0.5 + seed / 100)))


def fill(path) -> bytes:
    log = RunLog(path, "run")
    log.found(0, [face(1), face(2)])
    log.found(1, [])
    log.publish(7, 1)
    log.found(2, [face(3)])
    log.close()
    return path.read_bytes()


def test_a_log_gives_back_what_was_put_in(tmp_path):
    fill(tmp_path / "log")
    log = RunLog(tmp_path / "log", "run")
    first = log.faces(0)
    assert [f.score for f in first] == [face(1).score, face(2).score]
    assert np.array_equal(first[1].box, face(2).box) and np.array_equal(first[1].landmarks, face(2).landmarks)
    assert (log.faces(1), log.faces(3)) == ([], None)
    assert log.published == {(7, 1)} and not log.complete and log.resumed == 3


def test_the_end_is_remembered(tmp_path):
    log = RunLog(tmp_path / "log", "run")
    log.finish()
    log.close()
    assert RunLog(tmp_path / "log", "run").complete


def test_a_log_of_another_run_is_begun_anew(tmp_path):
    fill(tmp_path / "log")
    assert RunLog(tmp_path / "log", "other").faces(0) is None


@given(cut=st.integers(0, 400), change=st.integers(0, 400) | st.none())
@settings(max_examples=60, deadline=None)
def test_whatever_is_cut_or_damaged_the_rest_is_true_and_can_be_written_on(tmp_path_factory, cut, change):
    path = tmp_path_factory.mktemp("log") / "log"
    whole = fill(path)
    data = bytearray(whole[: max(0, len(whole) - cut)])
    if change is not None and change < len(data):
        data[change] ^= 0x40
    path.write_bytes(data)

    log = RunLog(path, "run")
    for sequence, expected in ((0, 2), (1, 0), (2, 1)):
        found = log.faces(sequence)
        assert found is None or len(found) == expected
    log.found(9, [face(9)])
    log.close()
    assert RunLog(path, "run").faces(9)[0].score == face(9).score


def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="name another output"):
        RunLog(tmp_path / "file" / "log", "run")


def test_faces_are_dropped_and_what_was_published_is_still_known(tmp_path):
    fill(tmp_path / "log")
    coordinates = face(1).box.tobytes()
    assert coordinates in (tmp_path / "log").read_bytes()
    assert drop_faces(tmp_path / "log")
    assert coordinates not in (tmp_path / "log").read_bytes()
    log = RunLog(tmp_path / "log", "run")
    assert log.published == {(7, 1)} and log.faces(0) is None and not log.complete
    assert [p.name for p in tmp_path.iterdir()] == ["log"]


def test_a_finished_log_without_faces_is_still_finished(tmp_path):
    log = RunLog(tmp_path / "log", "run")
    log.found(0, [face(1)])
    log.finish()
    log.close()
    assert drop_faces(tmp_path / "log") and drop_faces(tmp_path / "log")
    assert RunLog(tmp_path / "log", "run").complete


def test_a_log_at_work_keeps_its_faces_and_its_place(tmp_path):
    log = RunLog(tmp_path / "log", "run")
    log.found(0, [face(1)])
    assert not drop_faces(tmp_path / "log")
    log.found(1, [face(2)])
    log.close()
    assert RunLog(tmp_path / "log", "run").resumed == 2


def test_two_processes_do_not_heal_one_recording_at_once(tmp_path):
    log = RunLog(tmp_path / "log", "run")
    with pytest.raises(SinkError, match="another process is healing this recording"):
        RunLog(tmp_path / "log", "run")
    log.close()
    RunLog(tmp_path / "log", "run")
