"""A real Kafka for the tests: Apache Kafka in KRaft mode, one node, from its Maven artifacts.

`kafka_broker` starts it once a session where `java` (17 or later), `mvn` and `openssl` are there; the jars are kept in
`.cache/kafka/`. With KAFKA_BOOTSTRAP set, `kafka_bootstrap` is that broker instead, and the tests that must kill or
stop a broker, or need its certificates, are skipped. With STREAMHEAL_INTEGRATION=required a broker that can't be
started is a failure, not a skip.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path

import pytest

HERE = Path(__file__).parent
POM = HERE / "kafka-pom.xml"
JARS = HERE.parents[1] / ".cache" / "kafka" / "jars"
CLUSTER = "c3RyZWFtaGVhbC10ZXN0cw"  # 16 bytes, base64
USER, PASSWORD = "streamheal", "pa55w0rd-that-nobody-may-see"

SERVER_PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAIN://127.0.0.1:{plain},SASL://127.0.0.1:{sasl},MUTUAL://127.0.0.1:{mutual},CONTROLLER://127.0.0.1:{controller}
listener.security.protocol.map=PLAIN:PLAINTEXT,SASL:SASL_SSL,MUTUAL:SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAIN
sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN
listener.name.sasl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
    user_{user}="{password}";
listener.name.mutual.ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location={folder}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.crt
log.dirs={folder}/data
num.partitions=3
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
# a broker that was killed may come back at once
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
"""


SECOND_PROPERTIES = """
process.roles=broker
node.id=2
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAIN://127.0.0.1:{plain}
listener.security.protocol.map=PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAIN
log.dirs={folder}/data
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
"""


class Node:
    """One Kafka process that a test may kill, stop, and start again on its old data and ports."""

    plain: str
    """Where it answers without TLS."""

    def __init__(self, jars: Path, folder: Path):
        self.jars = jars
        self.folder = folder
        self._process: subprocess.Popen | None = None
        self._config = folder / "server.properties"

    def _format(self, *more: str) -> None:
        subprocess.run(
            [*self._java("kafka.tools.StorageTool"), "format", "-t", CLUSTER, "-c", self._config, *more],
            check=True,
            capture_output=True,
            timeout=300,
        )

    def _java(self, main: str) -> list[str]:
        small = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        return ["java", *small, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{self.jars}/*", main]

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def log(self) -> Path:
        return self.folder / "broker.log"

    def start(self, timeout: float = 300) -> None:
        """Start, and wait until it answers a client."""
        from kafka import KafkaAdminClient
        from kafka.errors import KafkaError

        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                [*self._java("kafka.Kafka"), str(self._config)], stdout=out, stderr=out, start_new_session=True
            )
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(KafkaError, OSError):
                admin = KafkaAdminClient(bootstrap_servers=[self.plain], bootstrap_timeout_ms=2000)
                admin.list_topics()
                admin.close()
                return
            time.sleep(0.2)
        self.kill()
        raise RuntimeError(f"the broker did not come up; its log ends:\n{self.log.read_text()[-3000:]}")

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Keep the connections open and say nothing: once this returns, not one thread of it runs."""
        self._process.send_signal(signal.SIGSTOP)
        threads = Path(f"/proc/{self._process.pid}/task")
        while any((t / "stat").read_text().rpartition(")")[2].split()[0] != "T" for t in threads.iterdir()):
            time.sleep(0.01)

    def thaw(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None:
            self.thaw()
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(15)
        self.kill()


class Broker(Node):
    """Broker and controller, with every way to get in that the tests try."""

    def __init__(self, jars: Path, folder: Path):
        super().__init__(jars, folder)
        plain, sasl, mutual, self.controller = _free_ports(4)
        self.plain, self.sasl, self.mutual = (f"127.0.0.1:{port}" for port in (plain, sasl, mutual))
        _certificates(folder)
        self.ca, self.other_ca = folder / "ca.crt", folder / "other.crt"
        self.client_cert, self.client_key = folder / "client.crt", folder / "client.key"
        self._config.write_text(
            SERVER_PROPERTIES.format(
                plain=plain, sasl=sasl, mutual=mutual, controller=self.controller,
                folder=folder, user=USER, password=PASSWORD,
            )
        )  # fmt: skip
        self._format("-S", f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]")


class SecondBroker(Node):
    """One more broker in the cluster of `first`: a leader that can be lost."""

    def __init__(self, first: Broker, folder: Path):
        super().__init__(first.jars, folder)
        [port] = _free_ports(1)
        self.plain = f"127.0.0.1:{port}"
        self._config.write_text(SECOND_PROPERTIES.format(plain=port, controller=first.controller, folder=folder))
        self._format()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as open_at_once:
        sockets = [open_at_once.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _certificates(folder: Path) -> None:
    """A CA, a server certificate for 127.0.0.1 (PEM keystore), a client's, and another CA that signed neither."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=300)

    for ca in ("ca", "other"):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={ca} of the tests",
                "-addext", "keyUsage=critical,keyCertSign",
                "-keyout", f"{ca}.key", "-out", f"{ca}.crt")  # fmt: skip
    (folder / "san.txt").write_text("subjectAltName=IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
                "-keyout", f"{name}.key", "-out", f"{name}.csr")  # fmt: skip
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", "2", "-extfile", "san.txt", "-out", f"{name}.crt")  # fmt: skip
    (folder / "server.pem").write_text((folder / "server.key").read_text() + (folder / "server.crt").read_text())


def jars() -> Path:
    """The folder with Kafka's jars, fetched once by Maven. Raises RuntimeError if that fails."""
    wanted = JARS.with_name("pom.xml")
    if wanted.is_file() and wanted.read_bytes() == POM.read_bytes():
        return JARS
    part = JARS.with_name(f"part-{os.getpid()}")
    command = ["mvn", "-B", "-q", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={part}"]
    fetched = subprocess.run(command, capture_output=True, text=True, timeout=900)
    if fetched.returncode:
        shutil.rmtree(part, ignore_errors=True)
        raise RuntimeError(f"mvn could not fetch Kafka's jars: {(fetched.stdout + fetched.stderr)[-1000:]}")
    shutil.rmtree(JARS, ignore_errors=True)
    part.rename(JARS)
    shutil.copy(POM, wanted)
    return JARS


def _give_up(reason: str) -> None:
    (pytest.fail if os.environ.get("STREAMHEAL_INTEGRATION") == "required" else pytest.skip)(reason)


@pytest.fixture(scope="session")
def kafka_session_broker(tmp_path_factory):
    if os.environ.get("KAFKA_BOOTSTRAP"):
        pytest.skip("KAFKA_BOOTSTRAP is set: this test needs a broker of its own to stop, or its certificates")
    if missing := [tool for tool in ("java", "mvn", "openssl") if shutil.which(tool) is None]:
        _give_up(f"a Kafka broker needs {', '.join(missing)} (or set KAFKA_BOOTSTRAP)")
    try:
        broker = Broker(jars(), tmp_path_factory.mktemp("kafka"))
    except (RuntimeError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", b"") or getattr(error, "stdout", b"") or b""
        _give_up(f"a Kafka broker could not be set up: {error} {said.decode(errors='replace')[-1000:]}")
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


@pytest.fixture
def kafka_broker(kafka_session_broker):
    """The session's broker, up and answering, whatever the test before has done to it."""
    kafka_session_broker.thaw()
    if not kafka_session_broker.running:
        kafka_session_broker.start()
    return kafka_session_broker


@pytest.fixture
def kafka_bootstrap(request):
    """The address of a broker without TLS: KAFKA_BOOTSTRAP, or the one that the session starts."""
    return os.environ.get("KAFKA_BOOTSTRAP") or request.getfixturevalue("kafka_broker").plain


@pytest.fixture
def kafka_topic():
    """A topic name that no other test has."""
    return f"test-{uuid.uuid4().hex[:12]}"
