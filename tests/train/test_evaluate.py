"""Judging, on a made-up data folder: every table is there, and the figures are the same each time."""

import json

import pytest
import torch

from streamheal.errors import ConfigError
from streamheal.heal import networks
from streamheal.train import data, evaluate, ship
from streamheal.train.evaluation import judge_embedder, judge_occlusion, judge_restorer, people, report
from streamheal.train.evaluation.measures import Judges
from streamheal.train.samples.bank import Bank
from tests.heal.networks.sample import SMALL, build
from tests.train.faces import write_data, write_shard


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_data(tmp_path_factory.mktemp("data"))
    write_shard(folder, "faces128-test-cc0", ["", ""], 4)
    write_shard(folder, "faces128-test-ytf", ["fay", "fay", "gus", "gus"], 5)
    write_shard(folder, "faces128-test-masked-rmfrd", ["hal"] * 3 + ["ivy"] * 4, 6)
    return folder


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    bank = Bank.draw(0, 2)
    for judge in (judge_restorer, judge_occlusion, judge_embedder):
        monkeypatch.setattr(judge.Bank, "draw", lambda *_, **__: bank)
    monkeypatch.setattr(judge_occlusion, "PICTURES", 4)
    monkeypatch.setattr(people, "LABELS", tmp_path)
    monkeypatch.setattr(data, "LABELS", tmp_path)
    monkeypatch.setattr(judge_restorer, "_segmenter", lambda: build("unet"))
    monkeypatch.setattr(judge_restorer.Judges, "at_hand", lambda _: Judges())


def judged(system: str, folder, out, **ask):
    out.mkdir(exist_ok=True)
    networks.save(out / "w.safetensors", system, build(system), {"minutes": 1})
    return evaluate.evaluate("tiny", folder, out, path=out / "w.safetensors", threads=1, **ask)


def titles(found: report.Evaluation) -> list[str]:
    return [table.title for table in found.tables]


def test_a_restorer_stands_beside_bicubic_and_telea(folder, tmp_path):
    found = judged("lr-trunk", folder, tmp_path / "out", protocol="cctv")
    assert titles(found) == ["Pixels, 16 → 128 px", "cctv: pixels"]
    assert [row[0] for row in found.tables[0].rows] == [
        "cctv, bicubic", "cctv, Telea + bicubic", "cctv, restored", "cctv, restored, found visibility",
    ]  # fmt: skip
    assert judged("lr-trunk", folder, tmp_path / "again", protocol="cctv").tables == found.tables
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_file()) == [
        "tiny-cctv.json", "tiny-cctv.md", "tiny-cctv.png", "w.safetensors",
    ]  # fmt: skip


def test_the_default_meets_every_protocol_but_the_one_that_shrinks_nothing_and_more(folder, tmp_path):
    found = titles(judged("lr-trunk", folder, tmp_path / "out"))
    assert [title for title in found if title.endswith(": pixels")] == [
        f"{name}: pixels" for name in ("fcsr", "ofhnet", "pro-uigan-square", "pro-uigan-irregular", "jdsr", "cctv")
    ]
    assert found[1:4] == ["Pixels, faces128-test-cc0", "Pixels, faces128-test-ytf", "Larger crops"]
    assert "ofhnet: beside the papers, ×8" in found


@pytest.mark.parametrize(
    ("system", "protocols", "variant"),
    [
        ("fcsr-gan", ["fcsr", "cctv"], "completion + bicubic"),
        ("ofhnet", ["ofhnet", "cctv"], "inpainting + bicubic"),
        ("pro-uigan", ["pro-uigan-square", "pro-uigan-irregular", "cctv"], "restored, landmark maps empty"),
        ("jdsr-gan", ["jdsr", "cctv"], "denoising + bicubic"),
        ("fd-stackgan", ["fd", "cctv"], "base network alone"),
    ],
)
def test_each_system_meets_its_own_protocol_and_the_camera_beside_itself_without_a_part(
    system, protocols, variant, folder, tmp_path
):
    found = judged(system, folder, tmp_path / "out")
    assert [title for title in titles(found) if title.endswith(": pixels")] == [f"{name}: pixels" for name in protocols]
    methods = [row[0] for row in found.tables[0].rows]
    for protocol in protocols:
        assert f"{protocol}, {variant}" in methods
    blind = system == "jdsr-gan"
    assert (f"{protocols[0]}: what it takes to be hidden" in titles(found)) == blind
    assert ("cctv, restored, found visibility" in methods) != blind


def test_a_protocol_that_is_not_there_or_does_not_fit_says_so(folder, tmp_path):
    with pytest.raises(ConfigError, match="no protocol 'x'; allowed: fcsr, ofhnet, pro-uigan, jdsr, fd, cctv"):
        judged("ofhnet", folder, tmp_path / "out", protocol="x")
    with pytest.raises(ConfigError, match="needs a network of 128 px, not 16"):
        judged("ofhnet", folder, tmp_path / "out", protocol="fd")
    with pytest.raises(ConfigError, match="no restorer"):
        judged("unet", folder, tmp_path / "out", protocol="cctv")


def test_larger_faces_are_judged_on_tuning_pictures_and_say_so(folder, tmp_path):
    write_shard(folder, "faces256-val", ["", ""], 7, size=256)
    torch.manual_seed(0)
    network = networks.build("fd-stackgan", SMALL["fd-stackgan"] | {"resolution": 256})
    networks.save(tmp_path / "w.safetensors", "fd-stackgan", network)
    found = evaluate.evaluate("tiny", folder, tmp_path / "out", path=tmp_path / "w.safetensors", protocol="fd")
    assert "TUNING shard" in found.tables[0].note
    assert "Identity (LFW)" not in titles(found)


def test_a_segmenter_is_judged_by_kind_and_size(folder, tmp_path):
    found = judged("unet", folder, tmp_path / "out")
    assert titles(found) == ["Drawn occluders", "Free faces"]
    assert found.settings["hand-outlined masks"] == "no labels file: row left out"
    assert found.tables[0].columns == ["occluder", "128 px", "32 px", "16 px"]


def test_real_masks_are_judged_within_the_face(folder, tmp_path):
    square = [[0, 0], [127, 0], [127, 127], [0, 127]]
    hidden = [[0, 64], [127, 64], [127, 127], [0, 127]]
    labels = [{"file": "faces128-test-masked-rmfrd-001.webp", "face": square, "hidden": [hidden]}]
    (tmp_path / "rmfrd_occlusion.json").write_text(json.dumps(labels))

    class Truth(torch.nn.Module):
        def visible(self, pictures):
            side = pictures.shape[-1]
            out = torch.ones(len(pictures), 1, side, side)
            out[:, :, side // 2 :] = 0
            return out

    table, _ = judge_occlusion._real_masks(Truth(), folder, tmp_path / "cache")
    assert [[cell["mean"] for cell in row[1:]] for row in table.rows] == [[1, 1, 1], [1, 1, 1]]


def test_an_embedder_stands_beside_its_teacher(folder, tmp_path):
    listed = {"masked": ["faces128-test-masked-rmfrd-000.webp", "faces128-test-masked-rmfrd-003.webp"], "left_out": []}
    (tmp_path / "rmfrd_masked.json").write_text(json.dumps(listed))
    found = judged("embedder", folder, tmp_path / "out")
    assert titles(found) == ["faces128-test-lfw", "faces128-test-ytf", "Really masked people (RMFRD)"]
    assert [row[0] for row in found.tables[0].rows][:2] == ["teacher, clean (Euclidean)", "student, clean"]
    assert found.tables[2].note.startswith("2 masked pictures of 2 people")


def test_shipping_pins_the_file_and_renews_the_figures_in_its_card(folder, tmp_path):
    found = judged("unet", folder, tmp_path / "out")
    models = tmp_path / "models"
    models.mkdir()
    (models / "tiny.md").write_text("# tiny\n\n<!-- figures: begin -->\nold\n<!-- figures: end -->\n\nwords\n")
    ship.ship("tiny", tmp_path / "out/w.safetensors", models, found)
    card = (models / "tiny.md").read_text()
    assert found.sha256 in card
    assert "old" not in card
    assert card.endswith("words\n")
    ship.ship("tiny", tmp_path / "out/w.safetensors", models)
    assert f"`{found.sha256}`; not judged yet" in (models / "tiny.md").read_text()
    entry = json.loads((models / "manifest.json").read_text())["tiny"]
    assert (entry["kind"], entry["system"], entry["sha256"]) == ("occlusion", "unet", found.sha256)


def test_a_card_renews_the_block_that_is_named_and_no_other(tmp_path):
    card = tmp_path / "tiny.md"
    blocks = [f"<!-- {name}: begin -->\nold {name}\n<!-- {name}: end -->" for name in ("figures", "track figures")]
    card.write_text("\n".join(blocks))
    report.put_into_card(card, "new\n", "track figures")
    assert card.read_text() == f"{blocks[0]}\n<!-- track figures: begin -->\n\nnew\n\n<!-- track figures: end -->"
    with pytest.raises(ValueError, match="has no <!-- x: begin -->"):
        report.put_into_card(card, "new", "x")


def test_figures_of_other_weights_are_not_shipped(folder, tmp_path):
    found = judged("unet", folder, tmp_path / "out")
    networks.save(tmp_path / "other.safetensors", "unet", networks.build("unet"))
    with pytest.raises(ValueError, match="evaluate it again"):
        ship.ship("tiny", tmp_path / "other.safetensors", tmp_path, found)


def test_masked_people_keep_their_last_open_picture_out_of_the_gallery(folder, tmp_path):
    names = [f"faces128-test-masked-rmfrd-00{i}.webp" for i in range(7)]
    listed = {"masked": [names[1], names[3], names[4]], "left_out": [names[2]]}
    (tmp_path / "rmfrd_masked.json").write_text(json.dumps(listed))
    faces = data.load([folder / "faces128-test-masked-rmfrd.zip"], tmp_path)
    found = people.masked_people(faces)  # hal has one open picture left: too few
    assert [list(rows) for rows in found.gallery] == [[5]]
    assert (list(found.open), list(found.masked), list(found.owner)) == ([6], [3, 4], [0, 0])


def test_people_meet_with_two_different_pictures(folder, tmp_path):
    faces = data.load([folder / "faces128-test-ytf.zip"], tmp_path)
    gallery, probes = people.pairs_of_people(faces, 5, 0)
    assert list(faces.identities[gallery]) == list(faces.identities[probes])
    assert (gallery != probes).all()
