"""The papers' tables: printed as printed, and never without what differs."""

import pytest

from streamheal.train.evaluation import published
from streamheal.train.evaluation.judge_restorer import GROUPS, OWN
from streamheal.train.samples.protocols import PROTOCOLS

OURS = {"restored": [{"mean": 23.0, "low": 22.0, "high": 24.0}, 0.7, "–", "–"]}


def test_a_papers_row_stands_below_ours_with_its_own_digits():
    table = published.beside("jdsr", 8, OURS)
    assert [row[0] for row in table.rows] == [
        "restored",
        "CBDNet + DICGAN (jdsr-gan's paper)",
        "JDSR-GAN (jdsr-gan's paper)",
    ]
    assert table.rows[2][1:3] == ["26.45", "0.7633"]
    assert len({len(row) for row in table.rows} | {len(table.columns)}) == 1
    assert published.beside("pro-uigan-square", 8, OURS).rows[-3][2] == "0.77"


def test_another_scale_has_other_rows():
    assert {row.psnr for row in published.of("fcsr", 4)} & {row.psnr for row in published.of("fcsr", 8)} == set()
    assert published.beside("cctv", 8, OURS) is None
    assert published.beside("ofhnet", 4, OURS) is None


@pytest.mark.parametrize("row", published.TABLES, ids=lambda row: f"{row.method}, {row.protocol}, {row.scale}")
def test_every_row_says_what_differs_and_belongs_to_its_systems_protocol(row):
    assert row.differs
    assert row.pictures
    assert row.protocol in PROTOCOLS
    assert row.protocol in GROUPS[OWN[row.system]]
    assert row.ssim is None or 0 < row.ssim < 1
    assert row.psnr is None or 17 < row.psnr < 33
