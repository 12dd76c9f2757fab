"""Everything that a pipeline file may say. Unknown keys are errors that name file, line and key.

    config = pipeline_file.load("pipelines/cctv.yaml", overrides=["output.path=out"])

`${NAME}` in a value is replaced from the environment: that is how secrets come in.
"""

import base64
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(gt=0)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Topic = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def _retention(text: object) -> object:
    """`30m`, `72h`, `14d` as a timedelta."""
    if isinstance(text, timedelta):
        return text
    found = re.fullmatch(r"([1-9][0-9]{0,5})([mhd])", str(text))
    if not found:
        raise ValueError(f"{text!r} is no time to keep faces; write a whole number and m, h or d: 30m, 72h, 14d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


Retention = Annotated[
    timedelta,
    BeforeValidator(_retention, json_schema_input_type=Annotated[str, Field(pattern="^[1-9][0-9]{0,5}[mhd]$")]),
]


def _key(text: SecretStr) -> SecretStr:
    """A key for AES-256; the error never shows it."""
    how = "allowed: 32 bytes in base64; make one with: openssl rand -base64 32"
    try:
        size = len(base64.b64decode(text.get_secret_value(), validate=True))
    except ValueError:  # also of a character that is not ASCII
        raise ValueError(f"is not base64; {how}") from None
    if size != 32:
        raise ValueError(f"holds {size} bytes; {how}")
    return text


Key = Annotated[SecretStr, AfterValidator(_key)]


class Section(BaseModel):
    """A part of a pipeline file: unknown keys are errors, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True)


class Camera(Section):
    """A live camera."""

    name: Name = Field(description="Used in event ids, Kafka keys and file names.")
    url: SecretStr = Field(description="rtsp://, rtsps://, http:// or https://. Credentials in it are never printed.")
    transport: Literal["tcp", "udp"] = Field("tcp", description="RTSP only. TCP loses no packets on a busy network.")
    open_timeout: Seconds = Field(10, description="Seconds to the first frame before the attempt is given up.")
    stall_timeout: Seconds = Field(10, description="Seconds without a frame before the camera is reconnected.")
    max_fps: Annotated[float, Field(gt=0, le=1000)] = Field(
        60, description="Frames a second that are looked at; those beyond are dropped and counted."
    )

    @model_validator(mode="after")
    def _known_scheme(self):
        scheme = self.url.get_secret_value().partition("://")[0].lower()
        if scheme not in ("rtsp", "rtsps", "http", "https"):
            raise ValueError(f"the url begins with {scheme!r}; allowed: rtsp, rtsps, http, https")
        return self


class Rendered(Section):
    """A short clip that the program renders itself: real faces from pictures that its dependencies carry, made tiny,
    moved, and partly hidden."""

    seconds: Annotated[float, Field(ge=1, le=120)] = 8
    fps: Annotated[int, Field(ge=1, le=60)] = 25
    width: Annotated[int, Field(ge=320, le=1920)] = 960
    height: Annotated[int, Field(ge=240, le=1080)] = 540
    seed: int = 0


class Source(Section):
    """What is watched: exactly one of `path`, `cameras`, `rendered`."""

    path: Path | None = Field(None, description="A recording, or a folder of recordings. Every frame is read.")
    cameras: list[Camera] | None = Field(None, min_length=1, description="Live cameras. The newest frame wins.")
    rendered: Rendered | None = Field(None, description="The demo clip.")

    @model_validator(mode="after")
    def _exactly_one(self):
        given = [k for k in ("path", "cameras", "rendered") if getattr(self, k) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of path, cameras, rendered; given: {', '.join(given) or 'none'}")
        names = [c.name for c in self.cameras or []]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"camera names must differ; given twice: {', '.join(twice)}")
        return self

    @property
    def live(self) -> bool:
        return self.cameras is not None


class Detector(Section):
    """Finds faces with five landmarks."""

    name: Literal["auto", "centerface", "yunet", "ultralytics"] = Field(
        "auto", description="auto: the one that ships with the best measured recall on tiny faces (models/)."
    )
    weights: Path | None = Field(
        None, description="yunet: the ONNX file. ultralytics: .safetensors, .onnx, or .pt (with sha256)."
    )
    sha256: Sha256 | None = Field(None, description="The hash that the weight file must have.")
    min_score: Share = Field(0.3, description="Faces below are not even used to keep a track alive.")
    scale: Annotated[float, Field(gt=0, le=4)] = Field(
        1.0, description="Magnifies the picture before detection; 2 finds smaller faces at four times the cost."
    )
    max_side: Annotated[int, Field(ge=64, le=8192)] = Field(
        1920, description="The longer side given to the network, pixels, after scale; larger pictures are shrunk."
    )
    every: Annotated[int, Field(ge=1, le=30)] = Field(1, description="Recordings: detect in every n-th frame.")
    batch: Annotated[int, Field(ge=1, le=64)] = Field(4, description="Most frames in one call, over all cameras.")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, …")


class Tracker(Section):
    """Follows faces from frame to frame. Lifetimes are in seconds, so that they hold at any frame rate."""

    high_score: Share = Field(0.5, description="Detections above may begin a track.")
    low_score: Share = Field(0.3, description="Detections above may go on with one: faces that are being hidden.")
    match_iou: Share = Field(0.2, description="Least (expanded) overlap for a match.")
    confirm_after: Annotated[float, Field(ge=0)] = Field(0.2, description="Seconds of detections before it counts.")
    lost_after: Seconds = Field(1.0, description="Seconds without a detection before the track ends.")


class Gallery(Section):
    """The crops of each track that are kept: sharp ones, that together show as much of the face as can be."""

    size: Annotated[int, Field(ge=1, le=64)] = Field(8, description="Crops kept per track.")
    min_crop: Annotated[int, Field(ge=8, le=128)] = Field(12, description="Smallest aligned crop side kept, pixels.")
    improve_by: Share = Field(
        0.1,
        description="Publish again when the best quality score, or the share of the face that the crops together show, "
        "grew by this much.",
    )
    min_interval: Seconds = Field(2.0, description="Seconds of stream time between publications of a track.")


class Occlusion(Section):
    """Says which pixels of a crop are hidden."""

    weights: str = Field("occlusion-unet", description="A name in models/manifest.json.")


class Restorer(Section):
    """Restores faces to 128 px."""

    system: str = Field(
        "auto",
        description="auto (by the crop's size, by what is hidden, and by budget_ms), a system (fcsr-gan), or one of "
        "its networks by name (fcsr-gan-16).",
    )
    budget_ms: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="Milliseconds that restoring a face may take here; auto passes over networks that take longer.",
    )
    abstain_below: Share = Field(
        0.25, description="Visible share of the face below which nothing is restored, and the event says so."
    )
    max_yaw: Annotated[float, Field(ge=0, le=90)] = Field(
        60, description="Degrees to the side beyond which nothing is restored: the networks know no profiles."
    )
    across_track: bool = Field(
        True,
        description="Restore a face from all crops of its gallery, where the network can; false: from the best.",
    )
    steady: bool = Field(
        True,
        description="Cameras: lay a face together with what was drawn of its track before, so that it doesn't flicker.",
    )
    batch: Annotated[int, Field(ge=1, le=256)] = Field(
        16, description="Faces per call, over all tracks; each with up to 8 crops."
    )
    mark: bool = Field(True, description="A small visible mark on restored pictures.")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, …")


class Embedder(Section):
    """Turns a face into a vector that recognition systems compare."""

    weights: str = Field("embedder", description="A name in models/manifest.json.")


class Output(Section):
    """The folder sink."""

    path: Path = Field(Path("healed"), description="Where crops, events.jsonl and report.html go.")
    report: bool = Field(True, description="Write report.html at the end.")


class Kafka(Section):
    """The Kafka sink. Events wait in an outbox on disk until the broker has acknowledged them."""

    bootstrap_servers: list[str] = Field(min_length=1)
    topic: Topic = "streamheal.faces.v1"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    username: str | None = None
    password: SecretStr | None = Field(None, description="Use ${NAME} to take it from the environment.")
    ssl_cafile: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    ssl_check_hostname: bool = True
    outbox: Path | None = Field(None, description="The SQLite file; default: outbox.sqlite in output.path.")
    outbox_max_bytes: int = Field(
        10_000_000_000,
        ge=1 << 20,
        description="What may wait on disk. Beyond it cameras shed events, oldest revisions first; a recording stops.",
    )
    delivery_timeout: Seconds = Field(30, description="Seconds before an unacknowledged event is sent again.")
    max_message_bytes: int = Field(
        1_048_576, ge=1024, description="Larger events become dead letters; brokers take 1 MiB unless told otherwise."
    )

    @model_validator(mode="after")
    def _complete_sasl(self):
        if self.security_protocol.startswith("SASL"):
            missing = [k for k in ("sasl_mechanism", "username", "password") if getattr(self, k) is None]
            if missing:
                raise ValueError(f"{self.security_protocol} also needs {', '.join(missing)}")
        return self


class Encryption(Section):
    """Seals faces at rest, in the folder and in the outbox, with AES-256-GCM."""

    use: Name = Field(description="The key that seals, one of `keys`.")
    keys: dict[Name, Key] = Field(
        min_length=1,
        description="Key id to 32 bytes in base64 (openssl rand -base64 32), as ${NAME}. Older keys stay until "
        "`streamheal rotate` has sealed everything anew.",
    )

    @model_validator(mode="after")
    def _key_in_use_is_there(self):
        if self.use not in self.keys:
            raise ValueError(f"use names the key {self.use!r}; in keys: {', '.join(self.keys)}")
        return self


class Cluster(Section):
    """What `streamheal ingest` and `streamheal heal` agree on. How to reach the brokers stands in `kafka`."""

    crops_topic: Topic = Field("crops.v1", description="Galleries on their way from ingest to heal.")
    cameras_topic: Topic = Field("cameras.v1", description="Holds nothing: its partitions are shares of the cameras.")
    dead_letter_topic: Topic = Field("crops.v1.dead", description="What can't be healed, with the reason.")
    ingest_group: Topic = Field("streamheal-ingest", description="Consumer group of the ingest nodes.")
    heal_group: Topic = Field("streamheal-heal", description="Consumer group of the heal workers.")
    partitions: Annotated[int, Field(ge=1, le=1000)] = Field(
        24, description="Of topics that have to be created; at least as many as there will be nodes of a kind."
    )
    replication: Annotated[int, Field(ge=1, le=10)] | None = Field(
        None, description="Copies of each partition of topics that have to be created; default: the broker's."
    )
    lease: Annotated[float, Field(ge=6, le=300)] = Field(
        10, description="Seconds without a sign of life after which a node's cameras or crops go to another."
    )
    attempts: Annotated[int, Field(ge=1, le=10)] = Field(
        3, description="Times that a job may take a worker down before it becomes a dead letter."
    )


def _not_empty(text: SecretStr) -> SecretStr:
    if not text.get_secret_value().strip():
        raise ValueError("is empty; give the path of a PEM file, or the PEM itself from the environment: ${NAME}")
    return text


class C2pa(Section):
    """Signs restored pictures with a C2PA manifest (docs/provenance.md). Needs `pip install streamheal[c2pa]`."""

    certificate: Path = Field(description="PEM file: the signing certificate first, then those that issued it.")
    key: Annotated[SecretStr, AfterValidator(_not_empty)] = Field(
        description="Its private key: the path of a PEM file, or the PEM itself, from the environment: ${NAME}."
    )
    algorithm: Literal["es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519"] = Field(
        "es256", description="es256: a key on the curve P-256; es384: P-384; es512: P-521; ps…: RSA; ed25519."
    )
    timestamp_url: SecretStr | None = Field(
        None, description="Time-stamping authority (RFC 3161), asked once a picture; null: the time is our word."
    )


class Provenance(Section):
    """How restored pictures say that they are."""

    c2pa: C2pa | None = Field(None, description="Signing; null signs nothing.")


class Limits(Section):
    """When a live run takes no more cameras. Those that it has keep running."""

    load: Annotated[float, Field(gt=0, le=1)] = Field(
        0.9, description="Share of the time for detection and healing up to which cameras are added; 1 adds any."
    )
    cameras: Annotated[int, Field(ge=1)] | None = Field(None, description="Most cameras at once; null: any number.")


class PipelineConfig(Section):
    """A pipeline file."""

    source: Source
    detector: Detector = Detector()
    tracker: Tracker = Tracker()
    gallery: Gallery = Gallery()
    occlusion: Occlusion = Occlusion()
    restorer: Restorer = Restorer()
    embedder: Embedder = Embedder()
    output: Output | None = Field(default_factory=Output, description="The folder sink; null turns it off.")
    kafka: Kafka | None = Field(None, description="The Kafka sink.")
    provenance: Provenance = Field(Provenance(), description="How restored pictures say that they are.")
    limits: Limits = Field(Limits(), description="When no more cameras are taken.")
    cluster: Cluster = Field(Cluster(), description="For streamheal ingest and streamheal heal.")
    encryption: Encryption | None = Field(None, description="Keys that seal faces at rest; null keeps them plain.")
    retention: Retention | None = Field(
        None, description="How long faces are kept after they were healed: 30m, 72h, 14d; null keeps them for good."
    )
    threads: Annotated[int, Field(ge=1, le=256)] | None = Field(None, description="CPU threads; default: all cores.")

    @model_validator(mode="after")
    def _goes_somewhere(self):
        if self.output is None and self.kafka is None:
            raise ValueError("nothing would be kept: give output, kafka, or both")
        if self.output is None and self.kafka is not None and self.kafka.outbox is None:
            raise ValueError("without output, kafka needs outbox: the file where events wait")
        return self

    def shaping(self) -> dict[str, str]:
        """What shapes a healed face, for its provenance: `restorer.max_yaw` → `60.0`. Weight files are left out: a
        model's hash says more than where it lay."""
        sections = ("detector", "tracker", "gallery", "occlusion", "restorer", "embedder")
        said = self.model_dump(mode="json", include={*sections})
        return {
            f"{section}.{key}": value if isinstance(value, str) else json.dumps(value)
            for section in sections
            for key, value in said[section].items()
            if key not in ("weights", "sha256")
        }

    @property
    def outbox(self) -> Path | None:
        """The file in which events wait for Kafka; None without Kafka."""
        if self.kafka is None:
            return None
        return self.kafka.outbox or self.output.path / "outbox.sqlite"

    @property
    def state(self) -> Path:
        """The folder where a run keeps what it needs to go on, and the audit log."""
        return (self.output.path if self.output is not None else self.kafka.outbox.parent) / "state"


def schema() -> dict[str, Any]:
    """The JSON Schema of a pipeline file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **PipelineConfig.model_json_schema()}
