"""The real clips: every frame of each is delivered."""

from pathlib import Path

import pytest

from streamheal.video import Reader, list_recordings

CLIPS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "videos"
FRAMES = {  # name: frames, (height, width) upright and scaled down to 270 lines
    "cctv_retail_1920x1080.mp4": (603, (270, 480)),
    "mot20_08_960x366.h264": (127, (270, 708)),
    "street_dance_1280x720.avi": (205, (270, 480)),
    "man_mask_on_off_portrait_352x640.mp4": (438, (270, 148)),
    "masked_woman_laptop_720x404.mp4": (244, (270, 481)),
    "woman_puts_on_mask_388x218.mp4": (234, (218, 388)),
}

pytestmark = pytest.mark.skipif(not CLIPS.is_dir(), reason="the footage is not here (../shared/data/videos)")


@pytest.mark.parametrize("name", FRAMES)
def test_every_frame_of_a_clip_is_delivered(name):
    frames, shape = FRAMES[name]
    count, last = max(0, frames - 200), -1.0  # all are decoded; to show the last 200 saves time
    with Reader("clip", CLIPS / name, live=False, max_height=270, skip=count) as reader:
        while not reader.ended:
            frame = reader.read(1)
            if frame is not None:
                assert frame.sequence == count
                assert frame.pts > last
                assert frame.image.shape == (*shape, 3)
                count, last = count + 1, frame.pts
    assert count == frames
    assert reader.status.corrupt == 0
    assert reader.status.last_error is None


def test_all_clips_of_the_folder_are_found():
    assert len(list_recordings(CLIPS)) == 17
