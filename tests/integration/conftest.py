from tests.integration.kafka import (  # noqa: F401
    kafka_bootstrap,
    kafka_broker,
    kafka_session_broker,
    kafka_topic,
)
