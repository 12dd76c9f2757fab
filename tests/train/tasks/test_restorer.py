"""The trunk's task: pixels, and who it is where a stage says so, judged on a share of each batch."""

import pytest
import torch

from streamheal import weights
from streamheal.errors import ConfigError
from streamheal.heal import networks
from streamheal.train import tasks, trainer
from streamheal.train.criteria import losses
from streamheal.train.recipe import Stage
from streamheal.train.task import Context, Task, weights_of
from tests.heal.networks.sample import SMALL, stir
from tests.train.tasks import stages

WHO = Stage(weights={"identity": 0.05})


@pytest.fixture(scope="module")
def context(tmp_path_factory) -> Context:
    embedder = networks.load(weights.find("embedder").path)
    return stages.context(tmp_path_factory.mktemp("faces"), embedder=embedder)


@pytest.fixture
def trunk() -> torch.nn.Module:
    return networks.load(weights.find("lr-trunk-16").path)


def entered(context: Context, stage: Stage, trunk: torch.nn.Module) -> Task:
    """The task as the trainer has it in `stage`, looking at half of each batch."""
    task = tasks.build("restorer", {"perceptual_share": 0.5, "shares": {"fcsr": 1}}, context)
    trainer.enter(stage, trunk, stages.RECIPE)
    task.weights = weights_of(task.weights, stage.weights)
    return task


def test_identity_counts_only_where_a_stage_weighs_it(context, trunk):
    for stage, parts in ((Stage(), {"pixel"}), (WHO, {"pixel", "identity"})):
        assert set(stages.draw(entered(context, stage, trunk), trunk, context.faces, stage).parts) == parts


def test_squares_count_on_crops_and_tracks_where_a_stage_weighs_them(context):
    network = networks.build("lr-trunk", SMALL["lr-trunk"] | {"fusion": 8})
    task = tasks.build("restorer", {"shares": {"fcsr": 1}, "frames": 3, "alive": 4}, context)
    task.weights = weights_of(task.weights, {"pixel": 0.1, "track": 0.1, "squared": 20.0})
    made = []
    network.register_forward_hook(lambda _, said, restored: made.append(restored.hr))
    parts = stages.draw(task, network, context.faces, Stage(), count=4).parts
    assert set(parts) == {"pixel", "track", "completed", "squared"}
    true = torch.from_numpy(context.faces.pictures([0, 1, 2, 3])).permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(parts["squared"], 20 * losses.squared(torch.cat(made), true))


def test_tracks_count_only_where_a_stage_weighs_them_and_teach_what_brings_crops_together(context):
    torch.manual_seed(0)
    network = networks.build("lr-trunk", SMALL["lr-trunk"] | {"fusion": 8})
    stir(network)
    task = tasks.build("restorer", {"shares": {"fcsr": 1}, "frames": 3}, context)
    assert set(stages.draw(task, network, context.faces, Stage()).parts) == {"pixel"}
    task.weights = weights_of(task.weights, {"track": 1.0})
    parts = stages.draw(task, network, context.faces, Stage()).parts
    assert set(parts) == {"pixel", "track", "completed"}
    sum(parts.values()).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_all_of_a_batch_are_tracks_where_single_crops_weigh_nothing(context):
    network = networks.build("lr-trunk", SMALL["lr-trunk"] | {"fusion": 8})
    task = tasks.build("restorer", {"shares": {"fcsr": 1}, "frames": 3}, context)
    task.weights = weights_of(task.weights, {"pixel": 0, "track": 1.0})
    drawn = []
    network.register_forward_hook(lambda _, said, restored: drawn.append(len(restored.hr)))
    assert set(stages.draw(task, network, context.faces, Stage(), count=4).parts) == {"track", "completed"}
    assert drawn == [4]


def test_a_track_s_kind_or_codec_that_there_is_not_is_refused(context):
    with pytest.raises(ConfigError, match="track_shares: 'walk'; allowed: moving, mask, camera"):
        tasks.build("restorer", {"track_shares": {"walk": 1}}, context)
    with pytest.raises(ConfigError, match="codec: 'av1'; allowed: h264, jpeg"):
        tasks.build("restorer", {"codec": "av1"}, context)


def test_only_its_share_of_a_batch_is_looked_at(context, trunk):
    task, looked_at, drawn = entered(context, WHO, trunk), [], []
    hooks = [
        context.priors.embedder.register_forward_hook(lambda _, said, found: looked_at.append((said[0], found))),
        trunk.register_forward_hook(lambda _, said, restored: drawn.append(restored.hr)),
    ]
    part = stages.draw(task, trunk, context.faces, WHO, count=4).parts["identity"]
    for hook in hooks:
        hook.remove()
    (faces, own), (true, wanted) = looked_at
    assert torch.equal(faces, drawn[0][:2].clamp(0, 1))
    assert torch.equal(true, torch.from_numpy(context.faces.pictures([0, 1])).permute(0, 3, 1, 2) / 255)
    torch.testing.assert_close(part, 0.05 * losses.identity(own, wanted))


def test_its_gradient_reaches_the_whole_trunk_and_not_the_judge(context, trunk):
    stages.draw(entered(context, WHO, trunk), trunk, context.faces, WHO).parts["identity"].backward()
    tracks = ("fusion.", "agreement.")  # what only several crops of a face go through
    alone = {name: p for name, p in trunk.named_parameters() if not name.startswith(tracks)}
    assert [name for name, p in alone.items() if p.grad is None or not p.grad.any()] == []
    assert all(p.grad is None for p in context.priors.embedder.parameters())


def test_of_a_small_share_one_face_is_left(context):
    task = tasks.build("restorer", {"perceptual_share": 0.01}, context)
    assert len(task.some(torch.zeros(4, 3, 8, 8))) == 1


@pytest.mark.parametrize("share", [0, 1.5])
def test_a_share_that_is_none_is_refused(share, context):
    with pytest.raises(ConfigError, match=f"perceptual_share: {share}; above 0 and at most 1"):
        tasks.build("restorer", {"perceptual_share": share}, context)


@pytest.mark.parametrize(
    ("kind", "option"), [("ofhnet", "perceptual_share"), ("pro-uigan", "size"), ("jdsr-gan", "imperfect")]
)
def test_an_option_that_a_system_has_no_use_for_is_refused_by_name(kind, option, context):
    with pytest.raises(ConfigError, match=f"options of a {kind} recipe.*{option}"):
        tasks.build(kind, {option: 1}, context)
