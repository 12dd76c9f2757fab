"""A camera that is lost: what was seen of its tracks is published then, and what comes back is told apart from it."""

import threading

from tests.pipeline.live import Run, until, write
from tests.video.clips import write_clip
from tests.video.web import at_real_rate, serve


def test_a_lost_camera_s_tracks_are_published_at_once_and_it_comes_back_in_a_new_epoch_with_no_id_twice(tmp_path):
    clip, back = write_clip(tmp_path / "clip.ts", 40, rate=5).read_bytes(), threading.Event()

    def camera(send, number: int) -> None:
        if number:  # it accepts and says nothing, until it is well again
            back.wait(120)
        at_real_rate(send, clip, 8)

    with serve(camera) as web:
        path = write(tmp_path / "p.yaml", {"gate": web.url}, tracker={"confirm_after": 0})
        with Run(path) as run:
            until(lambda: any(job.reason == "ended" for job in run.sink.jobs), 120)
            assert {job.epoch for job in run.sink.jobs} == {0} and not back.is_set()
            back.set()
            until(lambda: any(job.epoch > 0 for job in run.sink.jobs), 120)
    assert len({job.id for job in run.sink.jobs}) == len(run.sink.jobs)
