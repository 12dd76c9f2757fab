"""Decoding in this process: damaged streams, odd sizes, what FFmpeg's errors mean."""

import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from streamheal.video.decode import StreamError, VideoInput, classify
from streamheal.video.link import OpenOptions
from tests.video.clips import number_in, write_clip

GOP = 25


def decode(path: Path, **options) -> list[tuple[np.ndarray, bool]]:
    """Each picture, and whether it was flagged corrupt."""
    stream = VideoInput(OpenOptions(url=str(path), live=False, **options))
    pictures = []
    for decoded in stream:
        if decoded is not None:
            image = np.empty((*decoded.shape, 3), np.uint8)
            decoded.write(image)
            pictures.append((image, decoded.corrupt))
    stream.close()
    return pictures


def spoilt(pictures, whole) -> list[int]:
    """Positions of the pictures that differ visibly from the picture of the whole stream with the same number."""
    return [
        i
        for i, (image, _) in enumerate(pictures)
        if (n := number_in(image)) >= len(whole) or np.abs(image.astype(int) - whole[n][0]).max() > 12
    ]


def flagged(pictures) -> list[int]:
    return [i for i, (_, corrupt) in enumerate(pictures) if corrupt]


@pytest.fixture(params=[0, 2], ids=["no B-frames", "B-frames"])
def clip(request, tmp_path) -> Path:
    return write_clip(tmp_path / "clip.mp4", 100, gop=GOP, b_frames=request.param)


def test_bits_that_flipped_spoil_the_frames_up_to_the_next_keyframe_and_all_are_flagged(clip, tmp_path):
    whole = decode(clip)
    with av.open(str(clip)) as container:
        position, size = [(p.pos, p.size) for p in container.demux(video=0) if p.size][30]
    content = bytearray(clip.read_bytes())
    for i in range(10):
        content[position + 60 + i * 37 % (size - 60)] ^= 0x5A
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(content)
    pictures = decode(damaged)
    assert spoilt(pictures, whole)
    assert set(spoilt(pictures, whole)) <= set(flagged(pictures))
    assert set(flagged(pictures)) <= set(range(GOP, 2 * GOP))


@pytest.mark.parametrize("suffix", [".mp4", ".ts"])
def test_a_picture_that_is_missing_altogether_spoils_them_too(clip, tmp_path, suffix):
    whole = decode(clip)
    gap = tmp_path / f"gap{suffix}"
    with av.open(str(clip)) as source, av.open(str(gap), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for i, packet in enumerate(p for p in source.demux(video=0) if p.size):
            if i != 30:
                packet.stream = stream
                target.mux(packet)
    pictures = decode(gap)
    assert len(pictures) == 99
    assert spoilt(pictures, whole)
    assert set(spoilt(pictures, whole)) <= set(flagged(pictures))
    assert set(flagged(pictures)) <= set(range(GOP, 2 * GOP))


def test_nothing_is_flagged_in_a_whole_stream(clip):
    assert flagged(decode(clip)) == []


def test_odd_sizes_keep_their_proportions_when_scaled_down(tmp_path):
    path = write_clip(tmp_path / "clip.mkv", 2, size=(322, 182))
    assert decode(path)[0][0].shape == (182, 322, 3)
    assert decode(path, max_height=91)[0][0].shape == (91, 161, 3)


@pytest.mark.parametrize(("pixel", "shape"), [("2/1", (112, 384, 3)), ("1/2", (224, 192, 3)), ("1/1", (112, 192, 3))])
def test_squeezed_pictures_are_given_square_pixels(tmp_path, pixel, shape):
    path = write_clip(tmp_path / "clip.mp4", 2, pixel_shape=Fraction(pixel))
    assert decode(path)[0][0].shape == shape


def test_a_picture_that_grows_beyond_the_limit_mid_stream_is_refused(tmp_path):
    small, large = write_clip(tmp_path / "s.h264", 5), write_clip(tmp_path / "l.h264", 5, size=(640, 480))
    (tmp_path / "both.h264").write_bytes(small.read_bytes() + large.read_bytes())
    with pytest.raises(StreamError, match="640x480 pixels, more than the 200000"):
        decode(tmp_path / "both.h264", max_pixels=200_000)


def test_a_huge_picture_is_refused_before_memory_is_taken_for_it(tmp_path):
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 16000, 16000, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(48001 * 100))
    path = tmp_path / "huge.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    with pytest.raises(StreamError, match="Picture size 16000x16000 exceeds specified max pixel count 67108864"):
        decode(path)


@pytest.mark.parametrize(
    ("error", "error_class"),
    [
        (av.error.HTTPUnauthorizedError, "auth"),
        (av.error.HTTPForbiddenError, "auth"),
        (av.error.HTTPNotFoundError, "not-found"),
        (av.error.HTTPServerError, "not-found"),
        (av.error.ConnectionRefusedError, "unreachable"),
        (av.error.OSError, "unreachable"),
        (av.error.TimeoutError, "timeout"),
        (av.error.ExitError, "timeout"),
        (av.error.ConnectionResetError, "lost"),
        (av.error.BrokenPipeError, "lost"),
        (av.error.EOFError, "lost"),
        (av.error.InvalidDataError, "invalid"),
        (av.error.DecoderNotFoundError, "invalid"),
    ],
)
def test_each_error_has_its_class(error, error_class):
    assert classify(error(1, "words", "rtsp://user:password@host")) == error_class
