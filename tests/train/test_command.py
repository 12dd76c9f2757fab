"""`streamheal train` and `streamheal evaluate` as a user calls them."""

import pytest
from typer.testing import CliRunner

from streamheal.cli import app
from streamheal.errors import ConfigError, WeightsError
from streamheal.train import trainer
from streamheal.train.bank import Bank
from streamheal.train.command import evaluate, train
from tests.train.faces import write_data
from tests.train.test_trainer import write_recipe


def test_trains_and_says_where_the_weights_are(tmp_path, monkeypatch):
    bank = Bank.draw(0, 2)
    monkeypatch.setattr(trainer.Bank, "draw", lambda *_, **__: bank)
    data, plan = write_data(tmp_path / "data"), write_recipe(tmp_path / "r.yaml")
    call = ["train", str(plan), "--data", str(data), "--minutes", "0.05", "--out", str(tmp_path / "out")]
    answer = CliRunner().invoke(app, call)
    assert answer.exit_code == 0, answer.output
    assert "psnr ofhnet" in answer.output
    assert (tmp_path / "out/tiny.safetensors").is_file()


def test_a_recipe_that_is_not_there_is_one_clear_error(tmp_path):
    with pytest.raises(ConfigError, match=r"no recipe at .*r\.yaml"):
        train(tmp_path / "r.yaml", tmp_path, tmp_path / "out", 1)


def test_a_model_that_does_not_ship_names_those_that_do(tmp_path):
    with pytest.raises(WeightsError, match=r"no weights named 'nobody'; there are: .*lr-trunk-16"):
        evaluate("nobody", tmp_path, tmp_path / "out")
