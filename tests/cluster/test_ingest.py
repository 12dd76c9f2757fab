"""What an ingest node makes of a pipeline file."""

from pathlib import Path

import pytest

from streamheal.cluster.ingest import at_the_camera
from streamheal.config import PipelineConfig
from streamheal.errors import ConfigError


def config(**more) -> PipelineConfig:
    return PipelineConfig.model_validate({"source": {"path": "hall.mp4"}, **more})


def test_jobs_go_to_the_crops_topic_and_wait_where_no_run_keeps_its_events():
    kafka = {"bootstrap_servers": ["kafka:9092"], "topic": "faces"}
    made = at_the_camera(config(kafka=kafka, output={"path": "out"}, cluster={"crops_topic": "crops"}))
    assert made.kafka.topic == "crops"
    assert made.outbox == Path("out/ingest/outbox.sqlite") and made.state == Path("out/ingest/state")
    made = at_the_camera(config(kafka={**kafka, "outbox": "box/outbox.sqlite"}, output=None))
    assert made.outbox == Path("box/ingest/outbox.sqlite") and made.state == Path("box/ingest/state")


def test_without_brokers_there_is_no_cluster():
    with pytest.raises(ConfigError, match="section kafka"):
        at_the_camera(config())
