"""The trainer learns, stops in time, goes on from where it was, and survives being told to stop."""

import os
import signal
import threading

import pytest
import torch
import yaml

from streamheal.errors import ConfigError
from streamheal.heal import networks
from streamheal.train import data, recipe, tasks, trainer
from streamheal.train.bank import Bank
from streamheal.train.teacher import student_weights
from tests.heal.networks.test_networks import SMALL
from tests.train.faces import write_data
from tests.train.test_teacher import write_teacher

TASK_OF = {"lr-trunk": "restorer", "unet": "occlusion", "embedder": "embedder"}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def small_bank(monkeypatch):
    bank = Bank.draw(0, 2)
    monkeypatch.setattr(trainer.Bank, "draw", lambda *_, **__: bank)


def write_recipe(path, system="lr-trunk", **changes):
    said = {"name": "tiny", "task": TASK_OF[system], "system": system, "shards": ["faces128-train-00"], "batch": 4}
    path.write_text(yaml.safe_dump(said | {"network": SMALL[system], "warmup": 1} | changes))
    return path


@pytest.mark.parametrize("system", TASK_OF)
def test_each_task_lowers_its_own_loss_on_a_fixed_batch(system, folder, tmp_path):
    torch.manual_seed(0)
    faces = data.load(data.training_shards(folder, ["faces128-train-00"]), tmp_path)
    task = tasks.build(TASK_OF[system], {}, faces, Bank.draw(0, 2))
    network = networks.build(system, SMALL[system]).train()
    optimizer = torch.optim.AdamW([*network.parameters(), *task.extra.parameters()], 3e-3)
    lost = []
    for _ in range(25):
        gen = torch.Generator().manual_seed(0)
        batch = tasks.Batch.of(faces, torch.arange(4).numpy(), gen, mirror=True)
        loss, parts = task.loss(network, batch, gen)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        lost.append(loss.item())
        assert all(isinstance(value, float) for value in parts.values())
    assert lost[-1] < 0.95 * lost[0]


def test_ends_with_weights_curves_and_a_picture(folder, tmp_path, small_bank):
    path = trainer.train(write_recipe(tmp_path / "r.yaml"), folder, tmp_path / "out", minutes=0.01, threads=1)
    restored = networks.load(path)(torch.rand(2, 3, 16, 16), torch.ones(2, 1, 16, 16))
    assert restored.hr.shape == (2, 3, 128, 128)
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert {"tiny.safetensors", "checkpoint.pt", "curves.csv", "sheet.png"} <= names


def test_goes_on_from_its_checkpoint(folder, tmp_path, small_bank):
    rows, plan = [], write_recipe(tmp_path / "r.yaml")
    for _ in range(2):
        trainer.train(plan, folder, tmp_path / "out", minutes=0.01, threads=1, report=rows.append)
    assert rows[1]["step"] > rows[0]["step"]
    assert rows[1]["minutes"] > rows[0]["minutes"] + 0.009
    assert len((tmp_path / "out/curves.csv").read_text().splitlines()) == 3


def test_starts_again_without_resume(folder, tmp_path, small_bank):
    plan = write_recipe(tmp_path / "r.yaml")
    trainer.train(plan, folder, tmp_path / "out", minutes=0.005, threads=1)
    rows = []
    trainer.train(plan, folder, tmp_path / "out", minutes=0, threads=1, resume=False, report=rows.append)
    assert rows[0]["step"] == 0


def test_goes_on_from_exported_weights_alone(folder, tmp_path, small_bank):
    plan = write_recipe(tmp_path / "r.yaml")
    first = trainer.train(plan, folder, tmp_path / "out", minutes=0.005, threads=1)
    second = trainer.train(plan, folder, tmp_path / "on", minutes=0, threads=1, start_from=first)
    for one, two in zip(networks.load(first).parameters(), networks.load(second).parameters(), strict=True):
        assert torch.equal(one, two)


def test_being_told_to_stop_it_saves_and_ends(folder, tmp_path, small_bank):
    timer = threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *_: pytest.fail("arrived while no training ran"))
    timer.start()
    try:
        rows = []
        trainer.train(
            write_recipe(tmp_path / "r.yaml"), folder, tmp_path / "out", minutes=60, threads=1, report=rows.append
        )
    finally:
        timer.cancel()
        signal.signal(signal.SIGTERM, before)
    assert (tmp_path / "out/checkpoint.pt").is_file()
    assert rows[-1]["minutes"] < 60


def test_test_people_are_refused_before_anything_is_trained(folder, tmp_path):
    plan = write_recipe(tmp_path / "r.yaml", shards=["faces128-test-lfw"])
    with pytest.raises(ConfigError, match="never trained on"):
        trainer.train(plan, folder, tmp_path / "out", minutes=1)
    plan = write_recipe(tmp_path / "r.yaml", val="faces128-test-lfw")
    with pytest.raises(ConfigError, match="must not choose or tune"):
        trainer.train(plan, folder, tmp_path / "out", minutes=1)


def test_an_embedder_starts_from_its_teacher(folder, tmp_path, small_bank):
    (folder.parent / "weights").mkdir(exist_ok=True)
    write_teacher(folder.parent / "weights/t.safetensors")
    plan = write_recipe(tmp_path / "r.yaml", "embedder", network={}, start="t.safetensors")
    path = trainer.train(plan, folder, tmp_path / "out", minutes=0, threads=1)
    faces = data.load([folder / "faces128-train-00.zip"], tmp_path)
    expected = student_weights(folder.parent / "weights/t.safetensors", torch.from_numpy(faces.teacher).mean(0))
    for name, tensor in networks.load(path).state_dict().items():
        torch.testing.assert_close(tensor, expected[name].half().float())


@pytest.mark.parametrize("name", ["lr-trunk-16", "occlusion-unet", "embedder"])
def test_every_recipe_that_ships_can_be_built(name):
    from pathlib import Path

    plan = recipe.read(Path(__file__).parents[2] / "configs" / f"{name}.yaml")
    assert plan.name == name
    networks.build(plan.system, plan.network)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"epochs": 3}, "unknown key epochs; allowed: name"),
        ({"task": "cook"}, "task: 'cook'; allowed: restorer"),
        ({"start": "teacher.safetensors"}, "start: only an embedder"),
    ],
)
def test_a_bad_recipe_says_what_is_allowed(tmp_path, changes, says):
    with pytest.raises(ConfigError, match=says):
        recipe.read(write_recipe(tmp_path / "r.yaml", **changes))


def test_an_unknown_option_is_refused(folder, tmp_path, small_bank):
    with pytest.raises(ConfigError, match=r"options of a restorer recipe.*magic"):
        trainer.train(write_recipe(tmp_path / "r.yaml", options={"magic": 1}), folder, tmp_path / "out", minutes=1)
