"""The image as it really runs: a user without rights, nothing to write to but its volume, and every promise kept."""

import json
import os
import re
import secrets
import time
from base64 import b64encode

import pytest
import yaml

from tests.integration.containers import STATE, Container, call
from tests.integration.test_pipeline import hall  # noqa: F401

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
MAY_BE_WRITTEN = {STATE, "/tmp", "/var/tmp", "/run/lock"}
WRITABLE = "find / -xdev ! -type l -writable 2>/dev/null"


def told_about(image: str) -> str:
    """What the image says of itself: its layers with the commands that made them, its environment, its labels."""
    return call("history", "--no-trunc", image).stdout + call("image", "inspect", image).stdout


def test_it_runs_as_a_user_without_rights(container):
    said = container.shell("id; cat /proc/self/status")
    assert said.startswith("uid=10001(streamheal) gid=10001(streamheal) groups=10001(streamheal)"), said
    status = dict(line.split(":\t", 1) for line in said.splitlines() if ":\t" in line)
    assert {status[f"Cap{which}"] for which in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2", "system calls are filtered too"


@pytest.mark.parametrize(
    "attempt",
    [
        "touch /file",
        "touch /opt/streamheal/file",
        "touch /etc/streamheal",
        "cat /etc/shadow",
        "mount -t tmpfs none /mnt",
        "chroot / true",
        "touch /tmp/file; chown 0 /tmp/file",
        "cp /bin/sh /tmp; chmod u+s /tmp/sh; chown 0 /tmp/sh",
    ],
)
def test_what_needs_rights_is_refused(container, attempt):
    said = container.shell(f"({attempt}) && echo it was possible")
    assert re.search("Permission denied|Read-only file system|not permitted|superuser", said), said
    assert "it was possible" not in said


def test_only_the_volume_and_folders_for_temporary_files_can_be_written(container):
    said = container.shell(f"{WRITABLE}; touch {STATE}/file /tmp/file && echo both")
    assert said.split()[-1] == "both" and set(said.split()[:-1]) <= MAY_BE_WRITTEN


def test_nothing_of_the_program_belongs_to_its_user_even_on_a_root_that_can_be_written(container):
    said = container.shell(WRITABLE, options=["--read-only=false"])
    assert "/tmp" in said and set(said.split()) <= MAY_BE_WRITTEN


def test_no_file_of_the_image_gives_rights_to_who_runs_it(container):
    assert container.shell("find / -xdev -perm /6000 -type f 2>/dev/null") == ""


def test_nothing_of_how_it_was_built_stays_in_the_image(container):
    told = told_about(container.image)
    assert "/opt/streamheal/bin" in told
    assert "PIP_OPTIONS" not in told and "--cert" not in told, "the index that was used, and perhaps its password"


def test_it_says_its_version_and_that_nothing_is_missing(container):
    assert re.fullmatch(r"streamheal \d+\.\d+\.\d+\s*", container.run("--version").stdout)
    doctor = container.run("doctor")
    assert doctor.returncode == 0 and "MISSING" not in doctor.stdout, doctor.stdout


def test_the_demo_is_healed_into_the_volume(container):
    done = container.run("run", "pipelines/demo.yaml")
    assert done.returncode == 0, done.stdout
    made = container.shell("cd healed/demo && find . -type f -size +0 -printf '%u %p\n'").splitlines()
    assert {line.split()[0] for line in made} == {"streamheal"}
    names = {line.split()[1] for line in made}
    assert {"./events.jsonl", "./report.html"} <= names
    for kind in ("original", "restored", "evidence"):
        assert any(name.endswith(f"-{kind}.png") for name in names)


@pytest.fixture
def live(container, rtsp_camera, hall, tmp_path) -> tuple[Container, dict[str, str]]:  # noqa: F811
    """A run on a camera, with its secrets, that has published a face."""
    known = {"GATE_PASSWORD": secrets.token_hex(16), "FACE_KEY": b64encode(secrets.token_bytes(32)).decode()}
    gate = rtsp_camera(hall, auth="basic", user="viewer", password=known["GATE_PASSWORD"])
    file = tmp_path / "cctv.yaml"
    settings = {
        "source": {"cameras": [{"name": "gate", "url": gate.url("${GATE_PASSWORD}")}]},
        "output": {"path": f"{STATE}/healed", "report": False},
        "encryption": {"use": "first", "keys": {"first": "${FACE_KEY}"}},
        "retention": "72h",
    }
    file.write_text(yaml.safe_dump(settings))
    given = [f"--volume={file}:/etc/streamheal/cctv.yaml:ro", *(f"--env={name}" for name in known)]
    started = container.run(
        "run", "/etc/streamheal/cctv.yaml", options=given, detach=True, environment={**os.environ, **known}
    )
    assert started.returncode == 0, started.stdout
    deadline = time.monotonic() + 300
    while not container.inside("cat healed/events.jsonl").startswith("{"):
        assert container.inspect(".State.Running") == "true", container.logs()
        assert time.monotonic() < deadline, f"no event: {container.logs()}"
        time.sleep(0.5)
    return container, known


def test_sigterm_ends_a_live_run_with_every_track_published(live):
    container, _ = live
    assert container.stop() == "0", container.logs()
    events = [json.loads(line) for line in container.shell("cat healed/events.jsonl").splitlines()]
    tracks = {(e["camera"], e["epoch"], e["track"]) for e in events}
    assert tracks == {(e["camera"], e["epoch"], e["track"]) for e in events if e["reason"] == "ended"}


def test_a_sigterm_that_comes_while_it_starts_is_not_lost(container):
    assert container.run("run", "pipelines/cctv.yaml", detach=True).returncode == 0
    assert container.stop() in ("143", "0"), container.logs()


def test_secrets_of_the_environment_are_written_nowhere(live):
    container, known = live
    search = f"grep -rlsF {' '.join(f'-e {secret}' for secret in known.values())}"
    shown = container.inside("cat /proc/[0-9]*/cmdline")
    assert "/etc/streamheal/cctv.yaml" in shown
    assert container.inside("grep -rlsF GATE_PASSWORD /etc").split() == ["/etc/streamheal/cctv.yaml"]
    assert container.inside(f"{search} /etc /run /tmp /var") == ""
    assert container.stop() == "0", container.logs()
    assert "healed/events.jsonl" in container.shell("grep -rlsF gate .")
    assert container.shell(f"{search} .") == ""
    shown += container.logs() + told_about(container.image)
    assert not [secret for secret in known.values() if secret in shown]
