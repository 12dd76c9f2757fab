"""Weights are what was pinned, or they aren't loaded."""

import json
import shutil

import pytest
import torch

from streamheal import weights
from streamheal.errors import WeightsError


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMHEAL_MODELS", str(tmp_path))
    path = tmp_path / "tiny.safetensors"
    weights.save(path, {"w": torch.tensor([0.5, -2.0])}, {"width": 1})
    weights.pin("tiny", path, kind="restorer", system="lr-trunk", licence="ours")
    return tmp_path


def test_what_was_saved_is_loaded_with_its_configuration(models):
    file = weights.find("tiny")
    tensors, config = weights.load(file.path, file.sha256)
    assert tensors["w"].tolist() == [0.5, -2.0] and tensors["w"].dtype == torch.float32
    assert config == {"width": 1}


def test_an_unknown_name_lists_the_known_ones(models):
    with pytest.raises(WeightsError, match="no weights named 'huge'; there are: tiny"):
        weights.find("huge")


def test_a_changed_file_is_refused(models):
    data = bytearray((models / "tiny.safetensors").read_bytes())
    data[-1] ^= 1
    (models / "tiny.safetensors").write_bytes(data)
    with pytest.raises(WeightsError, match="expected"):
        weights.find("tiny")


def test_an_empty_file_is_refused(models):
    (models / "tiny.safetensors").write_bytes(b"")
    with pytest.raises(WeightsError, match="is empty"):
        weights.find("tiny")


def test_a_missing_file_is_refused(models):
    (models / "tiny.safetensors").unlink()
    with pytest.raises(WeightsError, match="does not exist"):
        weights.find("tiny")


@pytest.mark.parametrize("text", ["", "[]", '{"a": {}}', '{"a": 1}'])
def test_a_damaged_manifest_is_refused(models, text):
    (models / "manifest.json").write_text(text)
    with pytest.raises(WeightsError, match="not a manifest"):
        weights.find("tiny")


def test_a_pickle_is_not_loaded(tmp_path):
    path = tmp_path / "evil.safetensors"
    torch.save({"w": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="not readable as safetensors"):
        weights.load(path)


def test_weights_that_overflow_half_precision_are_not_written(tmp_path):
    with pytest.raises(WeightsError, match="not finite"):
        weights.save(tmp_path / "x.safetensors", {"w": torch.tensor([1e6])}, {})
    assert not (tmp_path / "x.safetensors").exists()


def test_every_shipped_file_is_whole_small_and_has_a_card():
    shipped = weights.manifest(weights.folder())
    assert shipped
    for name, file in shipped.items():
        weights.find(name)
        assert file.path.stat().st_size <= 16 * 2**20, name
        card = (file.path.parent / f"{name}.md").read_text()
        assert file.sha256 in card, f"the card of {name} names another hash"
        if file.kind == "restorer":
            shown = f"failures/{name}.jpg"
            assert f"]({shown})" in card and (file.path.parent / shown).is_file(), f"{name}: no pictures of failures"


def test_the_manifest_says_what_it_must(models):
    entry = json.loads((models / "manifest.json").read_text())["tiny"]
    assert set(entry) == {"file", "kind", "system", "sha256", "licence"}
    shutil.rmtree(models)
    with pytest.raises(WeightsError, match="STREAMHEAL_MODELS"):
        weights.find("tiny")
