"""The container image and the compose file keep their promises, as far as the files tell.

tests/integration/test_container.py runs the image.
"""

import base64
import re
import shlex
from pathlib import Path

import pytest
import yaml

from streamheal import pipeline_file

ROOT = Path(__file__).parent.parent
COMPOSE = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
_SECRET = re.compile(r"pass|secret|token|key", re.I)


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, each with what follows it, joined over line ends."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "docker" / "Dockerfile").read_text(), flags=re.M)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]


def test_the_last_user_is_a_number_and_not_root():
    *_, user = [value for name, value in instructions() if name == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert SERVICES["streamheal"]["user"] == user
    last = max(i for i, (name, _) in enumerate(instructions()) if name in ("RUN", "COPY"))
    assert [name for name, _ in instructions()].index("USER") > last, "nothing of the image belongs to that user"


def test_the_image_has_no_secret_and_fetches_no_file_from_anywhere():
    for name, value in instructions():
        assert name != "ADD" and not re.search(r"curl|wget|://", value)
        if name in ("ENV", "ARG"):
            assert not any(_SECRET.search(word.partition("=")[0]) for word in shlex.split(value))


def test_the_build_sees_only_what_it_copies():
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    shown = {line[1:] for line in ignore if line.startswith("!")}
    assert "*" in ignore
    copied = [shlex.split(v)[:-1] for n, v in instructions() if n == "COPY" and "--from" not in v]
    assert {source for sources in copied for source in sources} == shown
    assert all((ROOT / name).exists() for name in shown)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_may_do_nothing_that_it_does_not_need(name):
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"] and "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert not service["user"].startswith(("0", "root"))
    assert service["pids_limit"] and service["mem_limit"]
    assert not {"privileged", "network_mode", "pid", "ipc", "devices", "ports"} & service.keys()
    assert not any("docker.sock" in volume or volume.startswith("/") for volume in service["volumes"])


def test_a_stop_is_heard_from_the_first_moment():
    assert SERVICES["streamheal"]["init"] is True, "process 1 loses signals that it does not handle yet"


def test_secrets_of_the_compose_file_come_from_outside():
    for name, value in SERVICES["streamheal"]["environment"].items():
        assert re.fullmatch(rf"\$\{{{name}:\?[^}}]+\}}", value), "given by the caller, and missed if it is not"


def test_the_compose_file_s_pipeline_file_is_valid_and_writes_only_where_it_may(monkeypatch):
    for name in SERVICES["streamheal"]["environment"]:
        monkeypatch.setenv(name, base64.b64encode(b"k" * 32).decode())
    config = pipeline_file.load(ROOT / "docker" / "cctv.yaml")
    volumes = [volume.split(":")[1] for volume in SERVICES["streamheal"]["volumes"] if not volume.endswith(":ro")]
    assert any(config.output.path.is_relative_to(volume) for volume in volumes)
    assert config.encryption is not None and config.retention is not None
