"""Names that stay the same make event ids that stay the same."""

from pathlib import Path

from streamheal import pipeline_file
from streamheal.runs import camera_names, live_run_id, recorded_run_id

DEMO = Path(__file__).parent.parent / "pipelines" / "demo.yaml"


def test_the_same_footage_and_settings_are_the_same_run(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    (tmp_path / "b").write_bytes(b"x" * 3_000_000)
    config = pipeline_file.load(DEMO)
    run = recorded_run_id(tmp_path / "a", config)
    assert run == recorded_run_id(tmp_path / "b", config)
    assert run == recorded_run_id(tmp_path / "a", pipeline_file.load(DEMO, ["output.path=elsewhere"]))
    assert run != recorded_run_id(tmp_path / "a", pipeline_file.load(DEMO, ["tracker.lost_after=9"]))
    (tmp_path / "b").write_bytes(b"x" * 2_999_999 + b"y")
    assert run != recorded_run_id(tmp_path / "b", config)


def test_live_runs_never_share_a_name():
    assert len({live_run_id() for _ in range(50)}) > 45


def test_cameras_are_named_by_file_and_folder_and_no_two_alike(tmp_path):
    for name in ("gate/a b.mp4", "hall/a b.mp4", "hall/a b.avi"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    paths = sorted(p for p in tmp_path.rglob("*") if p.is_file())
    names = [name for _, name in camera_names(paths, tmp_path)]
    assert names == ["gate-a_b", "hall-a_b", "hall-a_b-2"]
    assert [name for _, name in camera_names([Path("/x/clip.mp4")], Path("/x/clip.mp4"))] == ["clip"]
