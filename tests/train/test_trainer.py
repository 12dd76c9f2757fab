"""The trainer learns, stops in time, goes on from where it was, and survives being told to stop."""

import os
import signal
import threading

import pytest
import torch
import yaml

from streamheal import weights
from streamheal.errors import ConfigError
from streamheal.heal import networks
from streamheal.train import data, recipe, tasks, trainer
from streamheal.train.criteria.priors import Priors
from streamheal.train.recipe import Stage
from streamheal.train.samples.bank import Bank
from streamheal.train.task import Context
from streamheal.train.teacher import student_weights
from tests.heal.networks.sample import SMALL
from tests.train.faces import write_data
from tests.train.tasks import stages
from tests.train.test_teacher import write_teacher

TASK_OF = {"lr-trunk": "restorer", "unet": "occlusion", "embedder": "embedder"}


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
    task = tasks.build(TASK_OF[system], {}, Context(Bank.draw(0, 2), faces, Priors(folder)))
    network = networks.build(system, SMALL[system])
    lost = stages.train(task, network, faces, Stage(), steps=25, rate=3e-3)
    assert lost[-1] < 0.95 * lost[0]


def test_ends_with_weights_curves_and_a_picture(folder, tmp_path, small_bank):
    path = trainer.train(write_recipe(tmp_path / "r.yaml"), folder, tmp_path / "out", minutes=0.01, threads=1)
    restored = networks.load(path)(torch.rand(2, 3, 16, 16), torch.ones(2, 1, 16, 16))
    assert restored.hr.shape == (2, 3, 128, 128)
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert {"tiny.safetensors", "tiny.md", "checkpoint.pt", "curves.csv", "sheet.png"} <= names
    card = (tmp_path / "out/tiny.md").read_text()
    assert "| psnr cctv |" in card
    assert weights.check(path, None) in card


def test_goes_on_from_its_checkpoint(folder, tmp_path, small_bank):
    rows, plan = [], write_recipe(tmp_path / "r.yaml")
    for _ in range(2):
        trainer.train(plan, folder, tmp_path / "out", minutes=0.01, threads=1, report=rows.append)
    assert rows[1]["step"] > rows[0]["step"]
    assert rows[1]["minutes"] > rows[0]["minutes"] + 0.009
    assert len((tmp_path / "out/curves.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize("optimizer", recipe.OPTIMIZERS)
def test_each_optimizer_remembers_its_steps_in_the_checkpoint(optimizer, folder, tmp_path, small_bank):
    rows, plan = [], write_recipe(tmp_path / "r.yaml", optimizer=optimizer)
    for _ in range(2):
        trainer.train(plan, folder, tmp_path / "out", minutes=0.005, threads=1, report=rows.append)
    assert 0 < rows[0]["step"] < rows[1]["step"]
    parts = torch.load(tmp_path / "out/checkpoint.pt", weights_only=True)["optimizer"].values()
    remembered = [state for part in parts for state in part["state"].values()]
    assert {int(state["step"]) for state in remembered if "step" in state} == {rows[1]["step"]}
    assert any("momentum" in state for state in remembered) is (optimizer == "muon")


def test_a_checkpoint_of_another_optimizer_is_refused_with_the_way_out(folder, tmp_path, small_bank):
    trainer.train(write_recipe(tmp_path / "r.yaml"), folder, tmp_path / "out", minutes=0, threads=1)
    other = write_recipe(tmp_path / "other.yaml", optimizer="adamw")
    with pytest.raises(ConfigError, match=r"remembers muon's steps, .* asks for adamw: .* --from"):
        trainer.train(other, folder, tmp_path / "out", minutes=0, threads=1)


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


def test_exported_weights_keep_their_widths_and_their_system(folder, tmp_path, small_bank):
    wide = write_recipe(tmp_path / "w.yaml", network=SMALL["lr-trunk"] | {"width": 24})
    first = trainer.train(wide, folder, tmp_path / "out", minutes=0, threads=1)
    plan = write_recipe(tmp_path / "r.yaml")
    second = trainer.train(plan, folder, tmp_path / "on", minutes=0, threads=1, start_from=first)
    assert networks.load(second).config.width == 24
    other = write_recipe(tmp_path / "u.yaml", "unet")
    with pytest.raises(ConfigError, match=r"trains unet; .* holds lr-trunk"):
        trainer.train(other, folder, tmp_path / "other", minutes=0, start_from=first)


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
        ({"stages": [{"share": 1, "sharee": 2}]}, "stages: unknown key sharee; allowed: name, share"),
        ({"stages": [{"share": 0}]}, "share 0 of the minutes"),
        ({"start": "teacher.safetensors"}, "start: only an embedder"),
        ({"optimizer": "sgd"}, "optimizer 'sgd'; allowed: muon, adamw"),
    ],
)
def test_a_bad_recipe_says_what_is_allowed(tmp_path, changes, says):
    with pytest.raises(ConfigError, match=says):
        recipe.read(write_recipe(tmp_path / "r.yaml", **changes))


def test_an_unknown_task_is_refused(folder, tmp_path, small_bank):
    with pytest.raises(ConfigError, match="task: 'cook'; allowed: restorer"):
        trainer.train(write_recipe(tmp_path / "r.yaml", task="cook"), folder, tmp_path / "out", minutes=1)


STAGES = [
    {"name": "ends", "share": 1, "train": ["enter", "leave"]},
    {"name": "whole", "share": 1, "rate": 0.1, "rates": {"up": 0.0}},
]


def test_stages_follow_each_other_and_never_go_back():
    plan = tuple(Stage(name=str(i), share=share) for i, share in enumerate((1, 2, 1)))
    assert [recipe.stage_at(plan, progress)[0] for progress in (0, 0.24, 0.26, 0.74, 0.76, 1)] == [0, 0, 1, 1, 2, 2]
    assert recipe.stage_at(plan, 0.5)[1] == pytest.approx(0.5)
    assert recipe.stage_at(plan, 0.1, least=1) == (1, 0.0)


def test_a_frozen_part_stays_as_it_is(folder, tmp_path, small_bank):
    plan = write_recipe(tmp_path / "r.yaml", stages=STAGES[:1])
    start = trainer.train(plan, folder, tmp_path / "start", minutes=0)
    end = trainer.train(plan, folder, tmp_path / "out", minutes=0.01, start_from=start)
    before, after = networks.load(start).state_dict(), networks.load(end).state_dict()
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"enter", "leave"}


def test_a_later_stage_is_gone_on_with(folder, tmp_path, small_bank):
    rows, plan = [], write_recipe(tmp_path / "r.yaml", stages=STAGES)
    for minutes in (0.01, 0.2):
        trainer.train(plan, folder, tmp_path / "out", minutes=minutes / 2, threads=1, report=rows.append)
    assert [row["stage"] for row in rows] == ["whole", "whole"]


def test_a_stage_of_a_part_that_is_not_there_names_the_parts(folder, tmp_path, small_bank):
    plan = write_recipe(tmp_path / "r.yaml", stages=[{"train": ["mouth"]}])
    with pytest.raises(ConfigError, match=r"no part 'mouth'; allowed: enter, before, attention"):
        trainer.train(plan, folder, tmp_path / "out", minutes=1)


def test_a_stage_may_weigh_losses_anew(folder, tmp_path, small_bank):
    rows = []
    for anew in ({}, {"pixel": 0.0}):
        plan = write_recipe(tmp_path / "r.yaml", stages=[{"weights": anew}])
        trainer.train(plan, folder, tmp_path / "out", minutes=0.005, resume=False, report=rows.append)
    assert rows[0]["pixel"] > 0
    assert rows[1]["pixel"] == 0
    plan = write_recipe(tmp_path / "r.yaml", stages=[{"weights": {"pixels": 1}}])
    with pytest.raises(ConfigError, match="no loss pixels; allowed: pixel, track, completed, squared, identity"):
        trainer.train(plan, folder, tmp_path / "out", minutes=1, resume=False)


def test_a_critic_learns_only_in_adversarial_stages(folder, tmp_path, small_bank):
    options = {"weights": {"adversarial": 0.01}}
    for adversarial in (False, True):
        out = tmp_path / str(adversarial)
        plan = write_recipe(tmp_path / "r.yaml", options=options, stages=[{"adversarial": adversarial}])
        trainer.train(plan, folder, out, minutes=0, threads=1)
        before = torch.load(out / "checkpoint.pt", weights_only=True)["critics"]
        trainer.train(plan, folder, out, minutes=0.01, threads=1)
        after = torch.load(out / "checkpoint.pt", weights_only=True)["critics"]
        assert any(not torch.equal(before[name], after[name]) for name in before) == adversarial


def test_an_unknown_option_is_refused(folder, tmp_path, small_bank):
    with pytest.raises(ConfigError, match=r"options of a restorer recipe.*magic"):
        trainer.train(write_recipe(tmp_path / "r.yaml", options={"magic": 1}), folder, tmp_path / "out", minutes=1)
