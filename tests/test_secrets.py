"""No secret leaves the places where it is needed: a run with many secrets, debug logging on, everything it said and
wrote is searched for them."""

import base64
import os
import signal
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
import yaml

from tests.publish.certificates import make_signing
from tests.video.clips import write_clip
from tests.video.web import at_real_rate, serve

ROOT = Path(__file__).parent.parent
_folder = tempfile.TemporaryDirectory()
SIGNING = make_signing(Path(_folder.name))
SECRETS = {
    "SIGNING_KEY": SIGNING.key.read_text().strip(),
    "GATE_PASSWORD": "gate-hunter2-5ecret",
    "ROOF_PASSWORD": "roof/hunter2@5ecret",
    "ROOF_TOKEN": "roof-t0ken-5ecret",
    "KAFKA_PASSWORD": "kafka-5ecret-pa55",
    "FACE_KEY": base64.b64encode(b"a key of exactly thirty-two byte").decode(),
}
# The program with stand-ins for the networks, and every logger at DEBUG.
PROGRAM = """
import logging, tests.targets
logging.basicConfig(level=logging.DEBUG)
tests.targets.with_stand_ins(tests.targets.NumberedFaces(every=100))
from streamheal.cli import main
main()
"""


def forms() -> list[bytes]:
    """Every way in which a secret may have been written down."""
    found = []
    for secret in "\n".join(SECRETS.values()).splitlines():
        ways = [secret.encode(), quote(secret, safe="").encode(), base64.b64encode(secret.encode())]
        found += [way for w in ways for way in (w, w.hex().encode())]
    return [*found, base64.b64decode(SECRETS["FACE_KEY"]), *(part.encode() for part in ("hunter2", "5ecret"))]


def told(content: bytes) -> list[bytes]:
    return [form for form in forms() if form in content]


def pipeline_file(folder: Path, web: str) -> Path:
    cameras = [
        {"name": "gate", "url": web.replace("://", "://viewer:${GATE_PASSWORD}@")},
        {"name": "roof", "url": "rtsp://viewer:${ROOF_PASSWORD}@127.0.0.1:9/live?token=${ROOF_TOKEN}"},
        {"name": "yard", "url": "https://127.0.0.1:9/live?token=${ROOF_TOKEN}"},
    ]
    kafka = {
        "bootstrap_servers": ["127.0.0.1:9"],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "username": "streamheal",
        "password": "${KAFKA_PASSWORD}",
    }
    c2pa = {"certificate": str(SIGNING.certificate), "key": "${SIGNING_KEY}"} if find_spec("c2pa") else None
    file = folder / "cctv.yaml"
    file.write_text(
        yaml.safe_dump({
            "source": {"cameras": cameras},
            "output": {"path": str(folder / "out")},
            "kafka": kafka,
            "encryption": {"use": "first", "keys": {"first": "${FACE_KEY}"}},
            "provenance": {"c2pa": c2pa},
            "gallery": {"min_interval": 0.1},
        })
    )  # fmt: skip
    return file


def start(program: str, *arguments: str, out) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, **SECRETS, "PYTHONPATH": str(ROOT)},
        stdout=out,
        stderr=subprocess.STDOUT,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("secrets")


@pytest.fixture(scope="module")
def processes_and_words(place) -> tuple[dict[str, bytes], bytes]:
    """What a run showed in the list of processes, and what it said, after faces were published."""
    content = write_clip(place / "camera.ts", 100).read_bytes()
    seen = {}
    with serve(lambda send, _: at_real_rate(send, content, 4)) as web, (place / "said").open("w+b") as said:
        process = start(PROGRAM, "-v", "run", str(pipeline_file(place, web.url)), out=said)
        try:
            events = place / "out" / "events.jsonl"
            deadline = time.monotonic() + 200
            while not (events.exists() and events.stat().st_size):
                assert process.poll() is None and time.monotonic() < deadline, (place / "said").read_text()
                for one in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
                    for what in ("cmdline", "environ"):
                        path = Path(f"/proc/{one.pid}/{what}")
                        own = "run" if one.pid == process.pid else "reader"
                        seen[f"{own} {what}"] = seen.get(f"{own} {what}", b"") + _content(path)
                time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        finally:
            process.kill()
            process.wait()
        said.seek(0)
        return seen, said.read()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended
        return b""


def test_the_list_of_processes_shows_none(processes_and_words):
    seen, _ = processes_and_words
    assert b"streamheal.video.worker" in seen["reader cmdline"]
    assert not told(seen["run cmdline"]) and not told(seen["reader cmdline"])


def test_the_processes_that_meet_hostile_bytes_inherit_none(processes_and_words):
    seen, _ = processes_and_words
    assert told(seen["run environ"]), "that is where the secrets come from"
    assert b"PATH=" in seen["reader environ"] and not told(seen["reader environ"])


def test_nothing_that_was_logged_holds_one(processes_and_words):
    _, said = processes_and_words
    assert b"roof" in said and b"kafka" in said and b"DEBUG" in said, "the log tells of every trouble"
    assert not told(said)


def test_nothing_that_was_written_holds_one(processes_and_words, place):
    files = [path for path in (place / "out").rglob("*") if path.is_file()]
    assert {"events.jsonl", "outbox.sqlite"} <= {path.name for path in files}
    assert [(path.name, form) for path in files for form in told(path.read_bytes())] == []


BROKEN = {
    "a scheme that is not allowed": ["--set", "source.cameras.0.url=ftp://viewer:${GATE_PASSWORD}@h/1"],
    "a password that is no text": ["--set", "kafka.password=[${KAFKA_PASSWORD}]"],
    "a section that is a value": ["--set", "kafka=${KAFKA_PASSWORD}"],
    "a key that is too short": ["--set", "encryption.use=a", "--set", "encryption.keys.a=${KAFKA_PASSWORD}"],
    "a signing key for something else": ["--set", "provenance.c2pa.algorithm=ed25519"],
    "a signing key that is none": ["--set", "provenance.c2pa.key=${KAFKA_PASSWORD}"],
    "an override that is none": ["--set", "source.cameras.0.url rtsp://viewer:roof/hunter2@5ecret@h/1"],
}


@pytest.mark.parametrize("arguments", BROKEN.values(), ids=BROKEN)
def test_no_complaint_about_a_file_holds_one(arguments, tmp_path):
    file = pipeline_file(tmp_path, "http://h/1")
    program = "from streamheal.cli import main; main()"
    said, _ = start(program, "validate", str(file), *arguments, out=subprocess.PIPE).communicate()
    assert said.startswith(b"streamheal: ") and b"Traceback" not in said
    assert not told(said)
