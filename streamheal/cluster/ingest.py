"""An ingest node: a run up to the gallery. What `streamheal run` heals, it sends to the heal workers.

frames → detect → track → gallery → outbox → crops.v1
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from streamheal.cluster.clients import NO_BROKERS, Clients
from streamheal.cluster.crops import CropsCodec
from streamheal.cluster.leases import Leases
from streamheal.config import Output, PipelineConfig
from streamheal.errors import ConfigError
from streamheal.kept import Kept
from streamheal.pipeline import Pipeline
from streamheal.pipeline.live import LiveRun
from streamheal.pipeline.live_file import LiveFile
from streamheal.pipeline.shedding import SheddingSink
from streamheal.pipeline.stages import Stages
from streamheal.publish.kafka import KafkaSink
from streamheal.publish.sink import Sink
from streamheal.records import HealJob, ModelUsed
from streamheal.vault import Vault


class IngestNode(Pipeline):
    """`streamheal ingest`: one node of the ingest group. Raises ConfigError without a `kafka` section."""

    def __init__(self, config: PipelineConfig, file: LiveFile | None = None):
        super().__init__(at_the_camera(config), file)
        self._clients = Clients(self.config, self._stop)

    def _build_healer(self, detector: ModelUsed, segmenter: object) -> "HandOn":
        return HandOn()

    def _sinks(self) -> Iterator[Callable[[], Sink]]:
        config, live = self.config, self.config.source.live
        codec = CropsCodec(config.kafka.max_message_bytes)
        vault = Vault.from_config(config.encryption)

        def open_sink() -> Sink:
            sink = JobSink(config.kafka, config.outbox, require=not live, codec=codec, vault=vault)
            return SheddingSink(sink) if live else sink

        yield open_sink

    def _watch(self, stages: Stages, note: Callable[..., object]) -> None:
        leases = Leases(self.config.cluster, self._clients, self._stop, self._wake.set)
        with closing(leases):
            LiveRun(stages, file=self._file, state=self.config.state, note=note, share=leases.of).watch()


def at_the_camera(config: PipelineConfig) -> PipelineConfig:
    """What an ingest node makes of a pipeline file: jobs go to the crops topic, and wait in a folder of its own."""
    if config.kafka is None:
        raise ConfigError(NO_BROKERS)
    own = Kept.of_ingest(config)
    kafka = {"topic": config.cluster.crops_topic, "outbox": own.outbox}
    return config.model_copy(
        update={"output": Output(path=own.folder, report=False), "kafka": config.kafka.model_copy(update=kafka)}
    )


@dataclass(frozen=True, slots=True)
class Gathered:
    """A job where a run has a healed face."""

    job: HealJob
    abstained: None = None


class HandOn:
    """Stands where a run has its healer."""

    def heal(self, jobs: Sequence[HealJob], *, restoring: bool = True) -> list[Gathered]:
        """Every job, untouched."""
        return [Gathered(job) for job in jobs]


class JobSink(KafkaSink):
    """Sends the jobs themselves."""

    def add(self, face: Gathered) -> None:
        super().add(face.job)
