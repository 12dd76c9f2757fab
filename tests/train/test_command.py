"""`streamheal train` and `streamheal evaluate` as a user calls them."""

import pytest
from typer.testing import CliRunner

from streamheal import weights
from streamheal.cli import app
from streamheal.errors import ConfigError, WeightsError
from streamheal.heal import networks
from streamheal.train import command, trainer
from streamheal.train import evaluate as judges
from streamheal.train.command import evaluate, train
from streamheal.train.evaluation import judge_restorer
from streamheal.train.evaluation.measures import Judges
from streamheal.train.samples.bank import Bank
from tests.heal.networks.sample import build
from tests.train.faces import write_data
from tests.train.test_trainer import write_recipe


def test_trains_and_says_where_the_weights_are(tmp_path, monkeypatch):
    bank = Bank.draw(0, 2)
    monkeypatch.setattr(trainer.Bank, "draw", lambda *_, **__: bank)
    data, plan = write_data(tmp_path / "data"), write_recipe(tmp_path / "r.yaml")
    call = ["train", str(plan), "--data", str(data), "--minutes", "0.05", "--out", str(tmp_path / "out")]
    answer = CliRunner().invoke(app, call)
    assert answer.exit_code == 0, answer.output
    assert "psnr ofhnet" in " ".join(answer.output.split())  # a narrow terminal breaks lines anywhere
    assert (tmp_path / "out/tiny.safetensors").is_file()


def test_a_recipe_that_is_not_there_is_one_clear_error(tmp_path):
    with pytest.raises(ConfigError, match=r"no recipe at .*r\.yaml"):
        train(tmp_path / "r.yaml", tmp_path, tmp_path / "out", 1)


def test_weights_that_do_not_ship_are_judged_by_their_file(tmp_path, monkeypatch):
    bank = Bank.draw(0, 2)
    monkeypatch.setattr(judge_restorer.Bank, "draw", lambda *_, **__: bank)
    monkeypatch.setattr(judge_restorer.Judges, "at_hand", lambda _: Judges())
    networks.save(tmp_path / "w.safetensors", "ofhnet", build("ofhnet"))
    call = ["evaluate", "mine", "--data", str(write_data(tmp_path / "data")), "--out", str(tmp_path / "out")]
    call += ["--weights", str(tmp_path / "w.safetensors"), "--protocol", "ofhnet", "--pictures", "2"]
    answer = CliRunner().invoke(app, call)
    assert answer.exit_code == 0, answer.output
    assert "| ofhnet, inpainting + bicubic |" in answer.output
    assert (tmp_path / "out/mine-ofhnet.md").read_text() in answer.output


def test_a_system_stands_for_all_its_networks(tmp_path, monkeypatch):
    (tmp_path / "a.safetensors").write_bytes(b"x")
    for name in ("small", "large"):
        weights.pin(name, tmp_path / "a.safetensors", kind="restorer", system="fcsr-gan", licence="none")
    monkeypatch.setenv("STREAMHEAL_MODELS", str(tmp_path))
    judged = []
    monkeypatch.setattr(judges, "evaluate", lambda name, *_, **__: judged.append(name))
    monkeypatch.setattr(command, "markdown", lambda _: "figures")
    assert evaluate("fcsr-gan", tmp_path, tmp_path) == "figures\nfigures"
    assert evaluate("small", tmp_path, tmp_path) == "figures"
    assert judged == ["large", "small", "small"]


def test_a_detector_has_no_protocol(tmp_path):
    with pytest.raises(ConfigError, match="centerface is a detector"):
        evaluate("centerface", tmp_path, tmp_path, protocol="cctv")


def test_a_model_that_does_not_ship_names_those_that_do(tmp_path):
    with pytest.raises(WeightsError, match=r"no weights named 'nobody'; there are: .*lr-trunk-16"):
        evaluate("nobody", tmp_path, tmp_path / "out")
