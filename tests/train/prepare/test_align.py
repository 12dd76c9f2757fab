"""One face from a photograph, or the reason why not."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from streamheal.faces.alignment import TEMPLATE
from streamheal.train.prepare.align import Aligner, disagreement
from streamheal.train.prepare.photos import Photo, Rejected
from tests.faces.portrait import astronaut
from tests.train.prepare import folders


@pytest.fixture(scope="module")
def aligner():
    return Aligner(128, central=False)


def photo(path, picture=None, **known) -> Photo:
    if picture is not None:
        folders.save(path, picture)
    return Photo(path, path.name, **known)


def why(aligner, *photos) -> Rejected:
    (answer,) = aligner.align(photos)
    assert isinstance(answer, Rejected), "nothing was rejected"
    return answer


def test_the_face_lands_on_the_template(aligner, tmp_path):
    picture, five = astronaut(size=300, angle=25, centre=(400, 300), shape=(600, 800))
    (aligned,) = aligner.align([photo(tmp_path / "a.png", picture)])
    assert aligned.image.shape == (128, 128, 3)
    upright, _ = astronaut(size=128, centre=tuple(TEMPLATE.mean(0)), shape=(128, 128))
    thumbs = [cv2.resize(im[32:96, 32:96], (16, 16), interpolation=cv2.INTER_AREA) for im in (aligned.image, upright)]
    assert np.corrcoef(thumbs[0].ravel(), thumbs[1].ravel())[0, 1] > 0.93  # 0.85 without the second, upright look
    assert aligned.interocular == pytest.approx(np.linalg.norm(five[0] - five[1]), rel=0.15)


def test_landmarks_of_the_data_set_are_used_where_the_detector_agrees(aligner, tmp_path):
    picture, five = folders.lit(0)
    (aligned,) = aligner.align([photo(tmp_path / "a.png", picture, five=five)])
    assert np.abs(aligned.five - TEMPLATE).mean() < 3
    assert aligned.interocular == pytest.approx(np.linalg.norm(five[0] - five[1]))


def test_landmarks_on_another_place_are_not_believed(aligner, tmp_path):
    picture, five = folders.lit(0)
    said = why(aligner, photo(tmp_path / "a.png", picture, five=five + np.array([30, 0])))
    assert said.reason == "landmarks disagree"
    assert "by 0.7" in said.detail or "by 0.8" in said.detail


def test_points_of_the_data_set_say_which_of_two_faces_is_meant(aligner, tmp_path):
    one, five = folders.lit(0)
    two, _ = folders.lit(1)
    both = np.hstack([two, one])
    assert why(aligner, photo(tmp_path / "a.png", both)).reason == "several faces"
    points = folders.points68(five) + np.array([two.shape[1], 0])
    (aligned,) = aligner.align([photo(tmp_path / "a.png", points=points)])
    assert disagreement(aligned.five, TEMPLATE) < 0.25
    assert np.abs(aligned.image.astype(int) - _crop(aligner, tmp_path, one)).mean() < 12


def _crop(aligner, tmp_path, picture):
    (aligned,) = aligner.align([photo(tmp_path / "one.png", picture)])
    return aligned.image


def test_a_face_that_is_clearly_larger_is_meant(aligner, tmp_path):
    large, _ = folders.lit(0)
    small = cv2.resize(large, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    both = np.zeros((218, 178 + 89, 3), np.uint8)
    both[:, :178], both[:109, 178:] = large, small
    (aligned,) = aligner.align([photo(tmp_path / "a.png", both)])
    assert aligned.interocular > 35


def test_in_pictures_cut_round_one_person_the_middle_is_meant(tmp_path):
    one, _ = folders.lit(0)
    both = np.hstack([folders.lit(1)[0], one, folders.lit(2)[0]])
    central = Aligner(128, central=True)
    (aligned,) = central.align([photo(tmp_path / "a.png", both)])
    assert np.abs(aligned.image.astype(int) - _crop(central, tmp_path, one)).mean() < 12
    aside = np.hstack([one, np.zeros((218, 534, 3), np.uint8)])
    assert why(central, photo(tmp_path / "b.png", aside)).reason == "no face"


def test_reasons_to_leave_a_photograph_out(aligner, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    assert why(aligner, photo(tmp_path / "noise.png", noise)).reason == "no face"
    small, _ = astronaut(size=90)
    said = why(aligner, photo(tmp_path / "small.png", small))
    assert said.reason == "too small"
    assert "30 wanted" in said.detail
    blurred = cv2.GaussianBlur(folders.lit(0)[0], (0, 0), 3)
    assert why(aligner, photo(tmp_path / "blurred.png", blurred)).reason == "too blurred"
    cut = folders.lit(0)[0][:, 75:]
    said = why(aligner, photo(tmp_path / "cut.png", cut, five=folders.lit(0)[1] - [75, 0]))
    assert said.reason == "cut by the border", said


def test_smaller_faces_pass_where_that_is_asked_for(tmp_path):
    small, _ = astronaut(size=90)
    (aligned,) = Aligner(128, central=False, least_interocular=20).align([photo(tmp_path / "a.png", small)])
    assert aligned.image.shape == (128, 128, 3)


def test_unreadable_files_are_named_and_the_rest_goes_on(aligner, tmp_path):
    whole = photo(tmp_path / "whole.jpg", folders.lit(0)[0])
    short = tmp_path / "short.jpg"
    short.write_bytes(whole.path.read_bytes()[:2000])
    text = tmp_path / "text.png"
    text.write_text("not a picture")
    answers = aligner.align([photo(short), whole, photo(text), photo(tmp_path / "gone.png")])
    assert [getattr(answer, "reason", "fine") for answer in answers] == [
        "unreadable picture", "fine", "unreadable picture", "unreadable picture",
    ]  # fmt: skip


def test_a_small_file_that_claims_a_huge_picture_is_not_decoded(aligner, tmp_path):
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n"
    for kind, content in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")):
        bomb += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    (tmp_path / "bomb.png").write_bytes(bomb)
    assert why(aligner, photo(tmp_path / "bomb.png")).reason == "unreadable picture"
    header = struct.pack(">IIBBBBB", 10_000, 6_000, 8, 2, 0, 0, 0)  # Pillow itself lets this one pass
    chunk = b"IHDR" + header
    (tmp_path / "large.png").write_bytes(bomb[:12] + chunk + struct.pack(">I", zlib.crc32(chunk)) + bomb[33:])
    assert "10000 × 6000 is more than 50,000,000" in why(aligner, photo(tmp_path / "large.png")).detail


def test_a_photograph_that_lies_on_its_side_is_turned_by_its_exif(aligner, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown a quarter clockwise
    lying = np.rot90(folders.lit(0)[0])
    Image.fromarray(lying).save(tmp_path / "a.jpg", exif=exif, quality=95)
    (aligned,) = aligner.align([photo(tmp_path / "a.jpg")])
    assert np.abs(aligned.image.astype(int) - _crop(aligner, tmp_path, folders.lit(0)[0])).mean() < 5


def test_labels_are_cut_as_the_face_is(tmp_path):
    """Skin left of the picture's middle, in masks of half the picture's size; the nose is at the middle."""
    picture, five = astronaut(size=170, centre=(128, 140), shape=(256, 256))
    mask = np.zeros((128, 128, 3), np.uint8)
    middle = round(five[2, 0] / 2)
    mask[:, :middle] = 255
    path = folders.save(tmp_path / "skin.png", mask)
    known = photo(tmp_path / "a.png", picture, five=five, parsing=((1, path),))
    (aligned,) = Aligner(256, central=True, least_interocular=30).align([known])
    assert aligned.parsing.shape == (256, 256) and set(np.unique(aligned.parsing)) == {0, 1}
    edge = np.flatnonzero(np.diff(aligned.parsing[143].astype(int)))  # at the height of the nose's tip
    assert edge.tolist() == pytest.approx([aligned.five[2, 0] * 2], abs=3)
