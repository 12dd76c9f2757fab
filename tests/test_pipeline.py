"""The whole program, on real pictures with the shipped networks: what goes in, what comes out, what a kill costs."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import streamheal
from streamheal import weights
from streamheal.errors import ConfigError, SourceError, WeightsError
from streamheal.pipeline import Pipeline, Summary
from streamheal.publish.folder import read_events
from streamheal.video.sample import render

ROOT = Path(__file__).parent.parent
RECORDED = ROOT / "pipelines" / "recorded.yaml"


@pytest.fixture(scope="session")
def clip(tmp_path_factory) -> Path:
    return render(tmp_path_factory.mktemp("clip") / "hall.mp4", seconds=3, fps=8)


def heal(source: Path, output: Path, *overrides: str) -> Summary:
    settings = [f"source.path={source}", f"output.path={output}", *overrides]
    return Pipeline.from_file(RECORDED, settings).run()


def command(source: Path, output: Path) -> list[str]:
    sets = ["--set", f"source.path={source}", "--set", f"output.path={output}"]
    return [sys.executable, "-c", "from streamheal.cli import main; main()", "run", str(RECORDED), *sets]


@pytest.fixture(scope="session")
def healed(clip, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("healed")
    heal(clip, output)
    return output


def test_every_person_is_found_followed_and_healed(healed):
    events = read_events(healed)
    tracks = {e["track"] for e in events}
    assert len(tracks) >= 5, "five people walk through the clip"
    assert {e["track"] for e in events if e["reason"] == "ended"} == tracks, "the end of the file ends every track"
    assert sum(e["restored"] is not None for e in events) > len(events) / 2


def test_pictures_are_what_the_events_say(healed):
    for event in read_events(healed):
        original = Image.open(healed / event["pictures"]["original"])
        assert original.size == (event["original"]["side_px"],) * 2
        assert Image.open(healed / event["pictures"]["occlusion"]).size == original.size
        assert Image.open(healed / event["pictures"]["evidence"]).size == (128, 128)
        if event["restored"]:
            assert Image.open(healed / event["pictures"]["restored"]).size == (128, 128)


def test_the_original_comes_from_the_frame_that_the_event_names(healed, clip):
    import av

    frames = [f.to_ndarray(format="rgb24") for f in av.open(str(clip)).decode(video=0)]
    event = max(read_events(healed), key=lambda e: e["original"]["side_px"])
    crop = np.array(Image.open(healed / event["pictures"]["original"]), float)
    a = np.vstack([event["original"]["affine"], [0, 0, 1]])
    frame = frames[event["original"]["frame"]]
    centre = np.array([crop.shape[1] / 2, crop.shape[0] / 2, 1])
    x, y = (np.linalg.inv(a) @ centre)[:2]
    around = frame[int(y) - 4 : int(y) + 5, int(x) - 4 : int(x) + 5].mean((0, 1))
    half = crop.shape[0] // 2
    assert np.abs(crop[half - 4 : half + 5, half - 4 : half + 5].mean((0, 1)) - around).max() < 25


def test_provenance_names_every_network_by_its_hash(healed):
    event = next(e for e in read_events(healed) if e["restored"])
    roles = {m["role"]: m["sha256"] for m in event["provenance"]["models"]}
    assert set(roles) == {"detector", "occlusion", "restorer", "embedder"}
    assert all(len(sha) == 64 for sha in roles.values())


def test_a_picture_says_of_itself_what_its_event_says_of_it(healed):
    for event in read_events(healed):
        made = event["provenance"]
        for kind, name in event["pictures"].items():
            said = streamheal.read_provenance((healed / name).read_bytes())
            assert (said.kind, said.event, said.camera) == (kind, event["id"], event["camera"])
            assert said.sources[0].sequence == event["original"]["frame"]
            if kind == "restored":
                frames = [source.sequence for source in said.sources]
                assert frames == made["source_frames"] == [source["frame"] for source in made["sources"]]
                assert {m.sha256 for m in said.models} < {m["sha256"] for m in made["models"]}
                assert said.settings == made["settings"] and said.settings["restorer.max_yaw"] == "60.0"
                assert said.marked and event["restored"]["marked"]


def test_embeddings_are_unit_vectors_and_the_original_comes_first(healed):
    for event in read_events(healed):
        assert np.isclose(np.linalg.norm(event["original"]["embedding"]), 1, atol=1e-4)
        keys = list(event)
        assert keys.index("original") < keys.index("restored")


def test_a_run_that_is_done_is_not_done_again(healed, clip, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(healed, copy)
    summary = heal(clip, copy)
    assert summary.counts.get("recordings.already-healed") == 1 and "frames" not in summary.counts
    assert read_events(copy) == read_events(healed)


def test_a_killed_run_goes_on_and_publishes_what_an_uninterrupted_one_does(healed, clip, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    log = None
    for more in (3_000, 3_000):  # bytes of detections between the kills
        process = subprocess.Popen(command(clip, tmp_path), env=environment, stdout=subprocess.DEVNULL)
        try:
            before = log.stat().st_size if log else 0
            while process.poll() is None:
                log = next(iter((tmp_path / "state").glob("*.log")), None)
                if log and log.stat().st_size > before + more:
                    break
                time.sleep(0.01)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert log is not None and log.stat().st_size > 0
    subprocess.run(command(clip, tmp_path), env=environment, check=True, stdout=subprocess.DEVNULL)

    def essence(folder):
        return {e["id"]: (e["reason"], e["frames"], e["original"]["frame"]) for e in read_events(folder)}

    assert essence(tmp_path) == essence(healed)
    assert len(read_events(tmp_path)) == len(essence(tmp_path)), "nothing twice"


def test_a_recording_that_is_cut_short_is_healed_up_to_there_and_the_rest_of_the_folder_too(clip, tmp_path):
    folder = tmp_path / "footage"
    folder.mkdir()
    (folder / "empty.mp4").touch()
    subprocess.run(
        [sys.executable, "-c",
         "import av,sys\n"
         "a=av.open(sys.argv[1]); b=av.open(sys.argv[2],'w',format='mpegts')\n"
         "s=b.add_stream_from_template(a.streams.video[0])\n"
         "for p in a.demux(video=0):\n"
         "    if p.dts is not None: p.stream=s; b.mux(p)\n"
         "b.close()", str(clip), str(folder / "cut.ts")],
        check=True,
    )  # fmt: skip
    data = (folder / "cut.ts").read_bytes()
    (folder / "cut.ts").write_bytes(data[: len(data) * 2 // 3])
    summary = heal(folder, tmp_path / "out")
    assert summary.counts["recordings.failed"] == 1 and "empty" in summary.warnings[-1]
    assert summary.counts["frames"] > 5 and len(read_events(tmp_path / "out")) > 3


def test_a_picture_without_a_face_gives_an_empty_report(tmp_path):
    grey = tmp_path / "wall.png"
    Image.new("RGB", (320, 240), (120, 118, 115)).save(grey)
    summary = heal(grey, tmp_path / "out")
    assert summary.counts["frames"] == 1 and not summary.counts.get("events")
    assert "No face was published" in summary.report.read_text()


def test_a_source_that_is_not_there_is_told_before_anything_is_loaded(tmp_path):
    with pytest.raises(SourceError, match="does not exist"):
        heal(tmp_path / "none.mp4", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_weights_are_told_by_name(clip, tmp_path, monkeypatch):
    models = tmp_path / "models"
    shutil.copytree(weights.folder(), models)
    broken = weights.manifest(models)["lr-trunk-16"]
    broken.path.write_bytes(b"")
    monkeypatch.setenv("STREAMHEAL_MODELS", str(models))
    with pytest.raises(WeightsError, match=f"{broken.path.name} is empty"):
        heal(clip, tmp_path / "out")


def test_a_system_that_is_not_there_lists_those_that_are(clip, tmp_path):
    with pytest.raises(ConfigError, match="there are: auto, "):
        heal(clip, tmp_path / "out", "restorer.system=magic")


def test_below_the_asked_visible_share_nothing_is_invented(clip, tmp_path):
    heal(clip, tmp_path, "restorer.abstain_below=1.0")
    events = read_events(tmp_path)
    for e in events:
        if e["original"]["quality"]["visible"] == 1:
            assert e["restored"] and e["abstained"] is None, "all of these is visible"
        elif e["abstained"] is None:  # what this crop hides, the others show
            assert len(e["provenance"]["source_frames"]) > 1
            assert e["restored"]["evidence_share"] > 0.99 and e["restored"]["hallucinated_share"] == 0
        else:
            assert e["restored"] is None and "is visible" in e["abstained"]
    much = [e for e in events if e["original"]["quality"]["visible"] < 0.9]
    assert much and all(e["abstained"] for e in much)


def test_the_command_prints_errors_without_a_traceback(tmp_path):
    done = subprocess.run(command(tmp_path / "none.mp4", tmp_path), capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.startswith("streamheal: recording") and "Traceback" not in done.stderr


def test_events_are_plain_json_lines(healed):
    for line in (healed / "events.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
