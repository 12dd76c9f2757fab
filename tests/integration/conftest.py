from tests.integration.containers import container  # noqa: F401
from tests.integration.kafka import (  # noqa: F401
    kafka_bootstrap,
    kafka_broker,
    kafka_session_broker,
    kafka_topic,
)
from tests.integration.rtsp import rtsp_camera, rtsp_clip  # noqa: F401
