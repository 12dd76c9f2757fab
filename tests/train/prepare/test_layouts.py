"""What is read of each data set's layout, on made-up copies of them."""

import numpy as np
import pytest

from streamheal.errors import ConfigError
from streamheal.train.prepare import layouts, parsing
from streamheal.train.prepare.photos import Rejected
from tests.train.prepare import folders


def test_celeba_gives_identity_partition_and_landmarks(tmp_path):
    kind, photos = layouts.read(folders.celeba(tmp_path / "set", ["7", "7", "12"], [0, 1, 2]))
    assert kind == "celeba"
    assert [photo.file for photo in photos] == [f"img_align_celeba/00000{i}.jpg" for i in (1, 2, 3)]
    assert [photo.identity for photo in photos] == ["celeba_7", "celeba_7", "celeba_12"]
    assert [photo.split for photo in photos] == ["train", "val", "test"]
    assert np.abs(photos[0].five - folders.lit(0)[1]).max() <= 0.5  # whole numbers there, but no half pixel off


def test_celeba_in_the_wild_is_preferred_with_its_own_landmarks(tmp_path):
    folders.celeba(tmp_path, ["7"], [0])
    wild = folders.celeba(tmp_path / "wild", ["7"], [0], place="img_celeba")
    (wild / "img_celeba").rename(tmp_path / "img_celeba")
    heading = "202599\nlefteye_x …\n000001.jpg "
    (wild / "Anno/list_landmarks_celeba.txt").write_text(heading + "165 184 244 176 196 249 194 271 266 260\n")
    _, photos = layouts.read(tmp_path)
    assert [photo.file for photo in photos] == ["img_celeba/000001.jpg"]
    assert photos[0].five[0].tolist() == [165.5, 184.5]


def test_celeba_goes_round_as_csv_too(tmp_path):
    folders.celeba(tmp_path, ["7"], [2])
    (tmp_path / "Eval/list_eval_partition.txt").unlink()
    (tmp_path / "list_eval_partition.csv").write_text("image_id,partition\n000001.jpg,1\n")
    assert layouts.read(tmp_path)[1][0].split == "val"


def test_celeba_hq_gets_names_by_way_of_celeba(tmp_path):
    folders.save(tmp_path / "images/00000.jpg", np.zeros((8, 8, 3), np.uint8))
    folders.save(tmp_path / "images/00001.jpg", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "CelebA-HQ-to-CelebA-mapping.txt").write_text(
        "idx   orig_idx  orig_file\n0  119613  119614.jpg\n1  99094  099095.jpg\n"
    )
    (tmp_path / "identity_CelebA.txt").write_text("099095.jpg 4\n119614.jpg 1757\n")
    (tmp_path / "list_eval_partition.txt").write_text("099095.jpg 2\n119614.jpg 0\n")
    kind, photos = layouts.read(tmp_path)
    assert kind == "celeba-hq"
    assert [(photo.identity, photo.split) for photo in photos] == [("celeba_1757", "train"), ("celeba_4", "test")]


def test_celeba_hq_in_folders_of_its_parts(tmp_path):
    for part in ("train/female", "val/male"):
        folders.save(tmp_path / "celeba_hq" / part / "000004.jpg", np.zeros((8, 8, 3), np.uint8))
    kind, photos = layouts.read(tmp_path / "celeba_hq")
    assert kind == "celeba-hq"
    assert [photo.split for photo in photos] == ["train", "val"]


def test_celebamask_hq_lays_its_masks_over_each_other(tmp_path):
    kind, photos = layouts.read(folders.celebamask_hq(tmp_path, 3))
    assert kind == "celebamask-hq"
    assert [len(photo.parsing) for photo in photos] == [2, 2, 2]
    labels = parsing.read(photos[2].parsing)
    assert labels[100, 10] == 1  # skin
    assert labels[100, 120] == 0
    assert labels[10, 10] == 13  # hair covers skin, whatever the files' order


def test_masks_of_two_sizes_are_no_label(tmp_path):
    photo = layouts.read(folders.celebamask_hq(tmp_path, 1))[1][0]
    folders.save(photo.parsing[1][1], np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(Rejected, match=r"00000_hair.png is no picture of 19 classes"):
        parsing.read(photo.parsing)


def test_helen_gives_68_points_and_its_parts(tmp_path):
    kind, photos = layouts.read(folders.helen(tmp_path, 1, 1))
    assert kind == "helen"
    assert [photo.split for photo in photos] == ["test", "train"]
    assert np.allclose(photos[1].points, folders.points68(folders.lit(0)[1]), atol=1e-3)


def test_helen_as_first_handed_out_gives_194_points(tmp_path):
    folders.save(tmp_path / "train_1/100032540_1.jpg", np.zeros((8, 8, 3), np.uint8))
    rows = "\n".join(f"{i}.5 , {2 * i}.25" for i in range(194))
    (tmp_path / "annotation").mkdir()
    (tmp_path / "annotation/1.txt").write_text(f"100032540_1\n{rows}\n")
    kind, photos = layouts.read(tmp_path)
    assert kind == "helen"
    assert photos[0].split == "train"
    assert photos[0].points.shape == (194, 2) and photos[0].points[3].tolist() == [3.5, 6.25]


def test_lfw_is_a_folder_a_person(tmp_path):
    kind, photos = layouts.read(folders.lfw(tmp_path, {"Ada_Lovelace": 2, "Bo": 1}))
    assert kind == "lfw"
    assert [photo.identity for photo in photos] == ["Ada_Lovelace", "Ada_Lovelace", "Bo"]


def test_any_folder_is_read_with_what_lies_deeper_and_nothing_else(tmp_path):
    for file in ("b.PNG", "deep/er/a.jpeg", ".hidden.jpg"):
        folders.save(tmp_path / file, np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "deep/ring").symlink_to(tmp_path)
    kind, photos = layouts.read(tmp_path)
    assert kind == "folder"
    assert [photo.file for photo in photos] == ["b.PNG", "deep/er/a.jpeg"]
    assert photos[0].identity == "" and photos[0].split is None


def test_a_broken_line_of_landmarks_names_its_picture(tmp_path):
    folders.celeba(tmp_path, ["7"], [0])
    (tmp_path / "Anno/list_landmarks_align_celeba.txt").write_text("000001.jpg 69 109 106\n")
    with pytest.raises(ConfigError, match=r"landmarks of 000001.jpg: expected 5 points x y, got '69 109 106'"):
        layouts.read(tmp_path)


def test_a_folder_with_nothing_to_read_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="no folder at"):
        layouts.read(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="no layout 'celebb'; allowed: auto, celebamask-hq"):
        layouts.read(tmp_path, "celebb")
    with pytest.raises(ConfigError, match="no photographs of layout folder"):
        layouts.read(tmp_path)
