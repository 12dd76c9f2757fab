"""A camera that is lost: what was seen of its tracks is published then, and what comes back is told apart from it."""

import itertools

from tests.pipeline.live import Run, until, write
from tests.video.clips import write_clip
from tests.video.web import at_real_rate, serve


def test_a_lost_camera_s_tracks_are_published_and_it_comes_back_in_a_new_epoch_with_no_id_twice(tmp_path):
    clip = write_clip(tmp_path / "clip.ts", 40, rate=5).read_bytes()
    with serve(lambda send, _: at_real_rate(send, clip, 8)) as web:
        path = write(tmp_path / "p.yaml", {"gate": web.url}, tracker={"confirm_after": 0})
        with Run(path) as run:
            until(lambda: {job.epoch for job in run.sink.jobs if job.reason == "ended"} >= {0, 1})
    jobs = {epoch: list(some) for epoch, some in itertools.groupby(run.sink.jobs, key=lambda job: job.epoch)}
    assert list(jobs) == sorted(jobs), "what was lost is published before what came after it"
    assert sum(map(len, jobs.values())) == len({job.id for job in run.sink.jobs}) == len(run.sink.jobs)
