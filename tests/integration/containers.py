"""Real containers of the image that `docker/Dockerfile` builds, with no more rights than `docker/compose.yaml` gives.

The build takes minutes and some 30 GB of disk, so tests take an image that was built before:

    podman build -f docker/Dockerfile -t streamheal .
    STREAMHEAL_IMAGE=streamheal pytest tests/integration/test_container.py

`docker build` does as well. The program that runs containers is podman, or docker where there is no podman;
CONTAINER_ENGINE names another.
"""

import os
import shlex
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

COMPOSE = Path(__file__).parents[2] / "docker" / "compose.yaml"
STATE = "/var/lib/streamheal"
"""Where the image's volume is mounted: the one place that a run writes to."""


def engine() -> list[str]:
    """The command that builds and runs containers; empty where there is none."""
    if named := os.environ.get("CONTAINER_ENGINE"):
        return shlex.split(named)
    return [name for name in ("podman", "docker") if shutil.which(name)][:1]


def confinement() -> list[str]:
    """What the compose file lets streamheal do, as options of `podman run` and `docker run`."""
    service = yaml.safe_load(COMPOSE.read_text())["services"]["streamheal"]
    return [
        f"--user={service['user']}",
        f"--init={str(service['init']).lower()}",
        f"--read-only={str(service['read_only']).lower()}",
        *(f"--cap-drop={name}" for name in service["cap_drop"]),
        *(f"--security-opt={option.removesuffix(':true')}" for option in service["security_opt"]),
        *(f"--tmpfs={mount}" for mount in service["tmpfs"]),
        f"--pids-limit={service['pids_limit']}",
        f"--memory={service['mem_limit']}",
    ]


def call(*arguments: str, **options) -> subprocess.CompletedProcess:
    """The engine's answer; what it said on stderr is in its stdout too."""
    command = [*engine(), *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


class Container:
    """Containers that share a volume, and their host's network. One of them may be detached: it has a name."""

    def __init__(self, image: str):
        self.image, self.name = image, f"streamheal-test-{uuid.uuid4().hex[:12]}"

    def run(self, *command: str, options=(), detach=False, environment=None) -> subprocess.CompletedProcess:
        """`streamheal COMMAND…`, to its end unless `detach`. `options` of the engine win over the compose file's;
        `environment` is the engine's own, from which `--env=NAME` takes a value that no command line shows."""
        first = ["--detach", f"--name={self.name}"] if detach else ["--rm"]
        basics = ["--network=host", f"--volume={self.name}:{STATE}", *confinement()]
        return call("run", *first, *basics, *options, self.image, *command, env=environment)

    def shell(self, script: str, options=()) -> str:
        """What a shell in the place of streamheal says; `script` is its text."""
        return self.run("-c", script, options=("--entrypoint=sh", *options)).stdout

    def inside(self, script: str) -> str:
        """What a shell says that is started beside the detached streamheal."""
        return call("exec", self.name, "sh", "-c", script).stdout

    def stop(self) -> str:
        """Asks the detached one to end, with more patience than the compose file has; its exit status."""
        call("stop", "--time=120", self.name)
        return self.inspect(".State.ExitCode")

    def inspect(self, field: str) -> str:
        return call("container", "inspect", f"--format={{{{{field}}}}}", self.name).stdout.strip()

    def logs(self) -> str:
        return call("logs", self.name).stdout

    def remove(self) -> None:
        call("rm", "--force", self.name)
        call("volume", "rm", "--force", self.name)


@pytest.fixture
def container() -> Iterator[Container]:
    """A container of the image that STREAMHEAL_IMAGE names. Skips where there is none."""
    image = os.environ.get("STREAMHEAL_IMAGE")
    if not image:
        pytest.skip(
            "no image is named; build docker/Dockerfile and set STREAMHEAL_IMAGE (tests/integration/containers.py)"
        )
    if not engine():
        pytest.skip("neither podman nor docker is installed")
    made = Container(image)
    yield made
    made.remove()
