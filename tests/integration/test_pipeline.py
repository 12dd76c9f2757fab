"""`streamheal run` on real cameras, and into a real broker."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from streamheal.pipeline import Pipeline
from streamheal.publish import event
from streamheal.publish.folder import read_events
from streamheal.video.sample import render
from tests.integration.test_kafka import read

ROOT = Path(__file__).parent.parent.parent
pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture(scope="session")
def hall(tmp_path_factory) -> Path:
    """The demo clip, slow enough for a CPU."""
    return render(tmp_path_factory.mktemp("hall") / "hall.mp4", seconds=20, fps=5)


def events_so_far(output: Path) -> list[dict]:
    return read_events(output) if (output / "events.jsonl").exists() else []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_live_cameras_are_healed_until_a_signal_ends_it_with_every_track_published(rtsp_camera, hall, tmp_path, number):
    gate = rtsp_camera(hall)
    lobby = rtsp_camera(hall, auth="basic", user="guard", password="s3cret-word")
    file = tmp_path / "cctv.yaml"
    cameras = [
        {"name": "gate", "url": gate.url()},
        {"name": "lobby", "url": lobby.url().replace("s3cret-word", "${LOBBY_PASSWORD}")},
        {"name": "roof", "url": "rtsp://127.0.0.1:9/nobody"},
    ]
    file.write_text(yaml.safe_dump({"source": {"cameras": cameras}, "output": {"path": str(tmp_path / "out")}}))
    process = subprocess.Popen(
        [sys.executable, "-c", "from streamheal.cli import main; main()", "-v", "run", str(file)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "LOBBY_PASSWORD": "s3cret-word"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline = time.monotonic() + 120
        while {e["camera"] for e in events_so_far(tmp_path / "out")} < {"gate", "lobby"}:
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline, "no events from both cameras"
            time.sleep(0.2)
        process.send_signal(number)
        # The promise is 5 s; a busy machine gets twice that here. The figure itself is measured in benchmarks/stop.py.
        said, _ = process.communicate(timeout=10)
    finally:
        process.kill()
    assert process.returncode == 0, said

    events = read_events(tmp_path / "out")
    confirmed = {(e["camera"], e["epoch"], e["track"]) for e in events}
    ended = {(e["camera"], e["epoch"], e["track"]) for e in events if e["reason"] == "ended"}
    assert ended == confirmed, "every confirmed track left once more as it ended"
    assert all(e["original"]["clock"] in ("sender", "arrival") for e in events)
    assert "roof was away at the end" in said, "the camera that never answered is told, and held up nobody"
    everything = said + "".join(p.read_text(errors="replace") for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert "s3cret-word" not in everything and (tmp_path / "out" / "report.html").exists()


def test_a_recording_reaches_kafka_as_it_reaches_the_folder(kafka_bootstrap, kafka_topic, hall, tmp_path):
    sets = [
        f"source.path={hall}",
        f"output.path={tmp_path}",
        "kafka=" + json.dumps({"bootstrap_servers": [kafka_bootstrap], "topic": kafka_topic}),
        "detector.every=3",
    ]
    summary = Pipeline.from_file(ROOT / "pipelines" / "recorded.yaml", sets).run()
    assert not summary.warnings
    folder = {e["id"]: e for e in read_events(tmp_path)}
    assert len(folder) >= 5
    arrived = {
        face.id: face for face in (event.decode(r.value) for r in read(kafka_bootstrap, kafka_topic, len(folder)))
    }
    assert arrived.keys() == folder.keys()
    for id, face in arrived.items():
        assert face.original.shape[0] == folder[id]["original"]["side_px"]
        assert abs(face.embedding_original - folder[id]["original"]["embedding"]).max() < 1e-6
