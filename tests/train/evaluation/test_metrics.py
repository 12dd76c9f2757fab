"""Figures that judge, against values worked out by hand or by scikit-image."""

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from streamheal.train.evaluation import metrics
from tests.train.faces import portraits


@pytest.fixture(scope="module")
def pair():
    face = torch.from_numpy(portraits(2)).permute(0, 3, 1, 2).float() / 255
    noise = torch.randn(face.shape, generator=torch.Generator().manual_seed(0))
    return (face + 0.05 * noise).clamp(0, 1), face


def test_psnr_of_a_known_error():
    assert metrics.psnr(torch.full((1, 3, 4, 4), 0.6), torch.full((1, 3, 4, 4), 0.5))[0] == pytest.approx(20, abs=1e-4)


def test_ssim_agrees_with_scikit_image(pair):
    expected = [
        structural_similarity(
            a.permute(1, 2, 0).numpy(), b.permute(1, 2, 0).numpy(), channel_axis=2, data_range=1,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )
        for a, b in zip(*pair, strict=True)
    ]  # fmt: skip
    assert metrics.ssim(*pair) == pytest.approx(expected, abs=2e-3)
    assert metrics.ssim(pair[1], pair[1]) == pytest.approx([1, 1])


def test_luma_of_white_and_black():
    white, black = torch.ones(1, 3, 1, 1), torch.zeros(1, 3, 1, 1)
    assert metrics.luma(white).item() == pytest.approx(235 / 255, abs=1e-5)
    assert metrics.luma(black).item() == pytest.approx(16 / 255, abs=1e-5)


def test_iou_of_nothing_found_where_nothing_is_counts_as_right():
    found = np.array([[[1, 1], [0, 0]], [[0, 0], [0, 0]]], bool)
    wanted = np.array([[[1, 0], [1, 0]], [[0, 0], [0, 0]]], bool)
    assert metrics.iou(found, wanted) == pytest.approx([1 / 3, 1])


def test_tar_at_far_by_hand():
    scores = np.array([0.9, 0.5, 0.2, *np.linspace(0, 0.59, 60), *np.full(40, -1.0)])
    same = np.zeros(103, bool)
    same[:3] = True
    assert metrics.threshold_at_far(scores, same, 0.01) == pytest.approx(0.58)  # one in a hundred lies above
    assert metrics.tar_at_far(scores, same, 0.01) == pytest.approx(1 / 3)


def test_a_probe_is_ranked_by_how_many_score_above_its_own():
    scores, owner = np.array([[0.9, 0.1, 0.2], [0.8, 0.3, 0.1], [0.8, 0.3, 0.1]]), np.array([0, 1, 2])
    assert list(metrics.ranked(scores, owner)) == [True, False, False]
    assert list(metrics.ranked(scores, owner, 2)) == [True, True, False]
    assert list(metrics.ranked(np.zeros((3, 3)), owner)) == [False, False, False]


def test_a_centred_interval_lies_round_its_figure():
    def spread(rows: np.ndarray) -> float:  # of different rows: shrinks where rows repeat
        return float(len(np.unique(rows)))

    plain, centred = metrics.interval_of(spread, 50), metrics.interval_of(spread, 50, centred=True)
    assert plain["high"] < plain["mean"] == 50
    assert centred["low"] < centred["mean"] == 50 < centred["high"]


def test_rank1_among_fewer_people_is_the_mean_over_all_choices():
    scores, owner = np.array([[0.5, 0.9, 0.1, 0.2], [0.1, 0.9, 0.3, 0.4]]), np.array([0, 1])
    assert metrics.rank1_among(scores, owner, 2) == pytest.approx([2 / 3, 1])  # one of three others is better
    assert metrics.rank1_among(scores, owner, 4) == pytest.approx([0, 1])


def test_interval_holds_the_mean_and_narrows_with_more_rows():
    values = np.random.default_rng(0).normal(5, 1, 400)
    few, many = metrics.interval(values[:20]), metrics.interval(values)
    assert many["low"] < many["mean"] < many["high"]
    assert many["high"] - many["low"] < 0.5 * (few["high"] - few["low"])


def test_telea_fills_the_hole_and_leaves_the_rest():
    plain, visible = torch.full((1, 3, 16, 16), 100 / 255), torch.ones(1, 1, 16, 16)
    visible[..., 4:8, 4:8] = 0
    filled = metrics.telea(plain * visible, visible)
    torch.testing.assert_close(filled, plain, atol=2.1 / 255, rtol=0)  # OpenCV rounds within the hole
    torch.testing.assert_close(filled * visible, plain * visible)


def test_parsing_iou_is_the_mean_over_classes_that_are_there():
    wanted = np.array([[[1, 1, 2, 255]], [[0, 0, 0, 255]]])
    found = np.array([[[1, 2, 2, 1]], [[0, 0, 0, 1]]])
    both = metrics.parsing_iou(found, wanted, range(1, 11))
    assert both[0] == pytest.approx((1 / 2 + 1 / 2) / 2)  # nothing of the unknown pixel
    assert np.isnan(both[1])
    assert metrics.parsing_iou(found, wanted, range(11))[1] == 1


def test_nrmse_is_in_per_cent_of_the_eyes_distance():
    wanted = np.zeros((1, 68, 2))
    wanted[0, 36], wanted[0, 45] = (40, 50), (80, 80)  # 50 px apart
    found = wanted.copy()
    found[0, :34] += (3, 4)  # half of the points are 5 px off
    assert metrics.nrmse(found, wanted) == pytest.approx([5.0])


def test_frechet_of_known_gaussians():
    rng = np.random.default_rng(0)
    points = rng.normal(0, 1, (5000, 3))
    points = (points - points.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(points, rowvar=False))).T
    turn = np.linalg.qr(rng.normal(0, 1, (3, 3)))[0]
    # N(0, 1) against N((1, 2, 0), diag(9, 1, 4)): 1 + 4 + (3 - 1)² + 0 + (2 - 1)²; turning both changes nothing
    other = points * [3, 1, 2] + [1, 2, 0]
    assert metrics.frechet(points, other) == pytest.approx(10)
    assert metrics.frechet(other @ turn, points @ turn) == pytest.approx(10)


def test_frechet_of_gaussians_whose_axes_differ():
    a, b = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[1.0, -0.5], [-0.5, 2.0]])
    corners = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) * np.sqrt(3 / 4)  # covariance: identity
    sets = [corners @ np.linalg.cholesky(spread).T for spread in (a, b)]
    # tr (AB)^½ of two 2×2 matrices: √(tr AB + 2 √det AB)
    shared = np.sqrt(np.trace(a @ b) + 2 * np.sqrt(np.linalg.det(a) * np.linalg.det(b)))
    assert metrics.frechet(*sets) == pytest.approx(np.trace(a + b) - 2 * shared)


def test_frechet_of_the_same_is_nothing_even_with_fewer_pictures_than_dimensions():
    few = np.random.default_rng(0).normal(0, 1, (10, 64))
    assert metrics.frechet(few, few[::-1]) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="two embeddings"):
        metrics.frechet(few[:1], few)
