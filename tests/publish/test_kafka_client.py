"""Of all that kafka-python says while a connection fails, the cause is what comes out."""

import logging

import pytest

from streamheal.publish import kafka_client

REFUSED = "[Error 58] SaslAuthenticationFailedError: invalid credentials"
GONE = "KafkaConnectionError: socket disconnected"
LATE = "[Error 7] RequestTimedOutError: Request timed out after 32 ms"


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ((REFUSED, GONE, GONE, LATE), REFUSED),
        ((GONE, REFUSED), REFUSED),
        ((GONE, LATE), GONE),
        ((LATE, GONE), GONE),
        ((LATE,), LATE),
    ],
)
def test_the_cause_is_not_hidden_by_what_followed_from_it(said, cause):
    heard = kafka_client._ClientLog()
    for what in said:
        text = f"Bootstrap connection to bootstrap-0 failed: {what} (backoff 0.11 secs)"
        heard.emit(logging.LogRecord("kafka", logging.WARNING, "", 0, text, None, None))
    assert heard.complaint == cause
