"""Every face that a run heals is accounted for: in Kafka, in the outbox, or shed and counted."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from streamheal.config import PipelineConfig
from streamheal.pipeline import Pipeline
from streamheal.publish.folder import read_events
from streamheal.publish.outbox import Accounts, Outbox
from streamheal.video.sample import render
from tests.integration.test_kafka import ids, read
from tests.publish.full_disk import small_disk  # noqa: F401

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
PATIENCE = 240  # seconds; machines may be ten times slower than this needs


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def accounts(path: Path) -> Accounts | None:
    if not path.exists():
        return None
    box = Outbox(path, create=False, ballast=0)
    try:
        return box.accounts()
    finally:
        box.close()


def test_a_recording_that_is_killed_and_run_again_is_accounted_for_to_the_last_event(
    kafka_bootstrap, kafka_topic, tmp_path
):
    clip = render(tmp_path / "hall.mp4", seconds=3, fps=8)
    sets = [
        f"source.path={clip}",
        f"output.path={tmp_path / 'out'}",
        "kafka=" + json.dumps({"bootstrap_servers": [kafka_bootstrap], "topic": kafka_topic}),
        "restorer.batch=1",
    ]
    file, outbox = ROOT / "pipelines" / "recorded.yaml", tmp_path / "out" / "outbox.sqlite"
    command = [sys.executable, "-c", "from streamheal.cli import main; main()", "run", str(file)]
    process = subprocess.Popen(
        [*command, *(word for one in sets for word in ("--set", one))],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )
    try:
        until(lambda: (there := accounts(outbox)) is not None and there.added >= 3, "the run healed nothing")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = accounts(outbox)
    assert before.balanced

    counts = Pipeline.from_file(file, sets).run().counts
    told = {name: counts[f"kafka.{name}"] for name in ("acknowledged", "waiting", "dead", "shed")}
    assert counts["kafka.added"] == sum(told.values())
    assert told == {"acknowledged": counts["kafka.added"], "waiting": 0, "dead": 0, "shed": 0}
    assert counts["kafka.added"] >= before.added + 1, "the kill came after the end: the test tests nothing"

    folder = [event["id"] for event in read_events(tmp_path / "out")]
    assert len(folder) == len(set(folder))
    assert ids(read(kafka_bootstrap, kafka_topic, len(folder), timeout=PATIENCE)) == set(folder)
    # An event may be given to the sink twice, where the kill came just before it was remembered.
    assert len(folder) <= counts["kafka.added"] <= len(folder) + 1


def test_cameras_go_on_on_a_full_disk_and_every_face_is_accounted_for(rtsp_camera, small_disk, tmp_path):  # noqa: F811
    camera = rtsp_camera(render(tmp_path / "hall.mp4", seconds=20, fps=5))
    out = small_disk.path / "out"
    pipeline = Pipeline(
        PipelineConfig.model_validate(
            {
                "source": {"cameras": [{"name": "gate", "url": camera.url()}]},
                "output": {"path": str(out)},
                "kafka": {"bootstrap_servers": ["127.0.0.1:9"]},  # nobody answers there
                "gallery": {"min_interval": 0.2, "improve_by": 0.01},
            }
        )
    )
    summaries = []
    run = threading.Thread(target=lambda: summaries.append(pipeline.run()))
    run.start()

    def starving_since(healed: int, events: int) -> bool:
        small_disk.fill()  # again and again: what the outbox throws overboard would be room for others
        return pipeline.counters["events"] >= healed + events

    try:
        until(lambda: (out / "events.jsonl").exists() and len(read_events(out)) >= 2, "nothing is healed")
        healed = pipeline.counters["events"]
        until(lambda: starving_since(healed, 5), "the full disk has stopped the run")
        small_disk.clear()
        kept = len(read_events(out))
        until(lambda: len(read_events(out)) > kept, "there is room, and nothing is kept")
    finally:
        pipeline.stop()
        run.join(PATIENCE)
    [summary] = summaries
    counts = summary.counts
    assert counts["kafka.added"] == counts["events"]
    assert counts["kafka.added"] == sum(counts[f"kafka.{name}"] for name in ("acknowledged", "waiting", "dead", "shed"))
    assert counts["kafka.waiting"] > 0
    assert len(read_events(out)) + counts["folder.shed"] == counts["events"]
    assert counts["folder.shed"] > 0, "the disk was never full: the test tests nothing"
    assert accounts(out / "outbox.sqlite").waiting == counts["kafka.waiting"]
