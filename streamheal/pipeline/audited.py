"""What the audit log says of a run: that it began, under which settings, and how it ended."""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version

from streamheal.audit import Audit
from streamheal.config import PipelineConfig
from streamheal.errors import SinkError
from streamheal.watch.counters import Counters

log = logging.getLogger(__name__)


@contextmanager
def audited(audit: Audit, config: PipelineConfig, counters: Counters) -> Iterator[Audit]:
    """Notes the start and the end of a run around a block. Raises SinkError where the start can't be noted."""
    audit.note("start", **_facts(config))
    if not config.restorer.mark:
        audit.note("mark turned off", pictures="restored faces bear no visible mark in this run")
    outcome = "ended"
    try:
        yield audit
    except BaseException as error:
        outcome = f"failed: {error!r}"
        raise
    finally:
        try:
            audit.note("stop", outcome=outcome, events=counters["events"])
        except SinkError as error:  # what was healed is whole, and the run is over
            log.error("%s", error)


def _facts(config: PipelineConfig) -> dict[str, object]:
    source = config.source
    return {
        "software": _software(),
        "config": hashlib.sha256(config.model_dump_json().encode()).hexdigest(),  # secrets are dots in it
        "source": [camera.name for camera in source.cameras] if source.cameras else str(source.path or "rendered"),
        "output": None if config.output is None else str(config.output.path),
        "topic": None if config.kafka is None else config.kafka.topic,
        "key": None if config.encryption is None else config.encryption.use,
        "retention": None if config.retention is None else str(config.retention),
    }


def _software() -> str:
    try:
        return f"streamheal {version('streamheal')}"
    except PackageNotFoundError:  # run from its source
        return "streamheal"
