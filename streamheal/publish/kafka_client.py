"""A connected kafka-python producer from the pipeline file's settings, or one clear error; and its log kept quiet.

kafka-python logs each failed attempt, and at DEBUG the very bytes it sends, passwords included. So its loggers are
taken off the program's log: warnings and errors come out once, as the cause in our own messages (and at DEBUG under
`streamheal.publish.kafka_client`), with secrets replaced; everything below never comes out.
"""

import contextlib
import gc
import logging
import re
import ssl
from collections.abc import Callable

from kafka import KafkaProducer
from kafka.errors import KafkaError

from streamheal.config import Kafka
from streamheal.errors import SinkError, redact

log = logging.getLogger(__name__)

BATCH_BYTES = 256 * 1024
"""Small events share a request up to this size; a larger one goes alone."""


_CAUSE = re.compile(
    r"^(?:Connection|Bootstrap (?:connection|attempt) to \S+) failed: (.*?)(?: \(backoff [0-9.]+ secs\))?$"
)


class _ClientLog(logging.Handler):
    """Stands between kafka-python's loggers and the program's: remembers why a connection failed, forwards at DEBUG."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.complaint = ""
        self.secrets: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = redact(record.getMessage())
        except Exception:  # a logging handler must not raise
            return
        for secret in self.secrets:
            text = text.replace(secret, "***")
        if (cause := _CAUSE.search(text)) and not self._tells_more_than(cause[1]):
            self.complaint = cause[1]
        log.debug("%s: %s", record.name, text)

    def _tells_more_than(self, cause: str) -> bool:
        """Whether what was complained of before says more: time running out at the end hides why, and a refused login
        comes once, then only ends of connections."""
        return "Authentication" in self.complaint or bool(self.complaint and "timed out" in cause)


_client_log = _ClientLog()


def _quieten(settings: Kafka) -> None:
    if settings.password:
        _client_log.secrets.add(settings.password.get_secret_value())
    logger = logging.getLogger("kafka")
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    if _client_log not in logger.handlers:
        logger.addHandler(_client_log)


def tls(settings: Kafka) -> ssl.SSLContext | None:
    """The TLS context, with certificate checks on; None where the protocol has no TLS.

    Raises SinkError if a certificate or key file can't be read.
    """
    if not settings.security_protocol.endswith("SSL"):
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ssl_cafile)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = settings.ssl_check_hostname
        if settings.ssl_certfile:
            # Without the empty password a locked key would make OpenSSL ask on the terminal, and wait.
            context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile, password="")
    except (OSError, ssl.SSLError) as error:
        files = [str(f) for f in (settings.ssl_cafile, settings.ssl_certfile, settings.ssl_keyfile) if f]
        raise SinkError(f"kafka: can't read the TLS files {', '.join(files)}: {error}; PEM files are needed") from error
    return context


def build(kind: Callable, settings: Kafka, context: ssl.SSLContext | None, timeout: float, **more):
    """A producer, consumer or admin client, by its class `kind`, that has spoken to a broker; `more`: its own settings.

    Raises SinkError with the cause if that takes longer than `timeout` seconds or is refused.
    """
    _quieten(settings)
    _client_log.complaint = ""
    clients = []

    def client(**configs):
        clients.append(kind.DEFAULT_CONFIG["kafka_client"](**configs))
        return clients[-1]

    try:
        return kind(
            bootstrap_servers=settings.bootstrap_servers,
            client_id="streamheal",
            bootstrap_timeout_ms=max(1, int(timeout * 1000)),
            reconnect_backoff_max_ms=5_000,
            security_protocol=settings.security_protocol,
            ssl_context=context,
            sasl_mechanism=settings.sasl_mechanism,
            sasl_plain_username=settings.username,
            sasl_plain_password=settings.password.get_secret_value() if settings.password else None,
            kafka_client=client,
            **more,
        )
    except (KafkaError, OSError, ValueError) as error:
        for half_open in clients:  # the constructor lets go of nothing when it fails
            with contextlib.suppress(Exception):
                half_open.close()
        clients.clear()
        gc.collect()  # kafka-python 3.0 leaves the sockets of failed tries in reference cycles: files, for hours
        raise SinkError(_why(settings, error, timeout)) from None


def connect(settings: Kafka, context: ssl.SSLContext | None, timeout: float, **more) -> KafkaProducer:
    """A producer that has spoken to a broker and knows the topic: idempotent, `acks=all`. `more`: its own settings.

    Raises SinkError with the cause if that takes longer than `timeout` seconds or is refused.
    """
    delivery = int(settings.delivery_timeout * 1000)
    producer = build(
        KafkaProducer,
        settings,
        context,
        timeout,
        enable_idempotence=True,
        acks="all",
        max_in_flight_requests_per_connection=5,
        compression_type=None,  # PNG doesn't shrink any more
        batch_size=min(BATCH_BYTES, settings.max_message_bytes),
        max_request_size=settings.max_message_bytes,
        delivery_timeout_ms=delivery,
        request_timeout_ms=max(1, delivery // 2),  # a lost answer leaves time for another try
        max_block_ms=max(1, int(timeout * 1000)),
        metrics_enabled=False,
        **more,
    )
    try:
        producer.partitions_for(settings.topic)
        return producer
    except (KafkaError, OSError, ValueError) as error:
        disconnect(producer)
        raise SinkError(_why(settings, error, timeout)) from None


def disconnect(producer: KafkaProducer) -> None:
    """Let go of a producer at once, with its thread and sockets, even where records are still on their way.

    `KafkaProducer.close` of kafka-python 3.0 gives up, and leaks both, where its flush does not end in time; so what
    it would do next, `force_close`, is done first.
    """
    sender = getattr(producer, "_sender", None)
    if sender is not None:
        sender.force_close()
        sender.join(1)
    with contextlib.suppress(KafkaError):
        producer.close(timeout=0)


def _why(settings: Kafka, error: Exception, timeout: float) -> str:
    said = _client_log.complaint or redact(error)
    where = ", ".join(redact(server) for server in settings.bootstrap_servers)
    if "Topic" in type(error).__name__ or "update metadata" in str(error):
        return f"kafka: {where} has no topic {settings.topic!r} that this user may write to: {error}"
    hint = "check kafka.bootstrap_servers and that the broker runs"
    if "CERTIFICATE_VERIFY_FAILED" in said:
        hint = "check kafka.ssl_cafile, and that the certificate is made out to the host's name"
    elif "ALERT" in said and "CERTIFICATE" in said:
        hint = "the broker asks for a client certificate that it trusts: check kafka.ssl_certfile and kafka.ssl_keyfile"
    elif "Authentication" in f"{said}{type(error).__name__}":
        hint = "check kafka.username, kafka.password and kafka.sasl_mechanism"
    elif "Handshake" in said:
        hint = "check kafka.security_protocol: does that port speak TLS?"
    elif "disconnected" in said and settings.sasl_mechanism:
        # A refusal reaches kafka-python 3.0 together with the end of the connection, and it sees only the latter.
        hint = "the broker hung up at the login: check kafka.username, kafka.password and kafka.sasl_mechanism"
    elif "disconnected" in said:
        hint = "the broker hung up: check kafka.security_protocol; does that port want TLS or a login?"
    for secret in _client_log.secrets:
        said = said.replace(secret, "***")
    return f"kafka: no connection to {where} within {timeout:g} s: {said}; {hint}"
