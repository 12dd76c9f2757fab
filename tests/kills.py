"""Kills at random moments, and the count of what went in and what came out: shared by tests and `benchmarks/kills.py`.

Each function kills one kind of process until `kills` have happened and gives a `Tally`. `rng` decides every moment, so
a seed names a sequence of kills (what a process had got to by then is the machine's affair).
"""

import contextlib
import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from kafka import KafkaConsumer, TopicPartition

from streamheal.config import Kafka
from streamheal.publish.folder import read_events
from streamheal.publish.outbox import Outbox
from streamheal.video.reader import Reader
from tests import targets
from tests.publish.sample import healed_face
from tests.video.clips import number_in


@dataclass(slots=True)
class Tally:
    """What came of the kills of one kind."""

    kills: int = 0
    came_in: int = 0  # events (or frames) that an uninterrupted run has, or that a writer was told are kept
    came_out: int = 0  # of these, how many arrived in every place
    strange: int = 0  # arrived, but never came in
    twice: int = 0  # delivered again under the same id, which Kafka's consumers drop; nowhere else
    recovery: list[float] = field(default_factory=list)  # seconds until it went on

    @property
    def unaccounted(self) -> int:
        return self.came_in - self.came_out + self.strange

    def compare(self, expected: set, *arrived: Counter) -> None:
        self.came_in += len(expected)
        self.came_out += len(expected.intersection(*arrived))
        self.strange += sum(len(there.keys() - expected) for there in arrived)
        self.twice += sum(there.total() - len(there) for there in arrived)


def recordings(
    rng: Random, kills: int, clip: Path, place: Path, broker: str | None = None, *, per_run: int = 4
) -> Tally:
    """A recording's run is killed at random lines of what decides what is kept, and started again until it is done."""
    heard, told = multiprocessing.Pipe(duplex=False)
    whole = place / "whole"
    _finish(targets.start(targets.heal_recording, clip, whole, _kafka(broker, f"{place.name}-whole"), lines=told))
    lines, expected = heard.recv(), set(_folder(whole))

    def begin(out: Path, dying: bool):
        die_at = rng.randrange(1, lines) if dying else None
        return targets.start(targets.heal_recording, clip, out, _kafka(broker, out.name), die_at)

    return _run_and_kill(kills, per_run, place, broker, expected, begin, lambda process: process.join())


def programs(rng: Random, kills: int, clip: Path, place: Path, broker: str, *, per_run: int = 5) -> Tally:
    """The same for the whole program with its networks, killed after random times, the start included."""

    def begin(out: Path, dying: bool = False):
        kafka = f"kafka={{bootstrap_servers: ['{broker}'], topic: {out.name}}}"
        sets = [f"source.path={clip}", f"output.path={out}", kafka, "threads=1", "output.report=false"]
        file = Path(__file__).parents[1] / "pipelines" / "recorded.yaml"
        return targets.start(targets.run_program, file, sets)

    began = time.monotonic()
    whole = place / f"{place.name}-whole"
    _finish(begin(whole))
    longest = time.monotonic() - began
    return _run_and_kill(
        kills, per_run, place, broker, set(_folder(whole)), begin, lambda p: p.join(rng.uniform(0, longest))
    )


def _run_and_kill(
    kills: int, per_run: int, place: Path, broker: str | None, expected: set, begin: Callable, wait: Callable
) -> Tally:
    assert expected, "an uninterrupted run publishes something"
    tally = Tally()
    while tally.kills < kills:
        out = place / f"{place.name}-{tally.kills}"
        for _ in range(min(per_run, kills - tally.kills)):
            process = begin(out, True)
            wait(process)
            if process.exitcode == 0:
                break  # it was done before its time had come
            process.kill()
            process.join()
            tally.kills += 1
        before, began = _progress(out), time.monotonic()
        process = begin(out, False)
        while process.is_alive() and _progress(out) <= before:
            time.sleep(0.02)
        tally.recovery.append(time.monotonic() - began)
        _finish(process)
        arrived = [_folder(out)]
        if broker:
            arrived.append(topic_ids(broker, out.name))
        tally.compare(expected, *arrived)
        assert arrived[0].total() == len(arrived[0]), "the folder holds nothing twice"
    return tally


def outbox_writers(rng: Random, kills: int, place: Path) -> Tally:
    """A process that adds events to an outbox is killed again and again; what it was told is kept must be there."""
    path = place / "outbox.sqlite"

    def begin(first: int, last: int, told):
        return targets.start(targets.fill_outbox, path, first, last, told)

    tally, last = _write_and_kill(rng, kills, begin, longest=0.3)
    box = Outbox(path)
    arrived = Counter(e.id for e in box.pending(limit=last + 10, max_bytes=1 << 40))
    box.close()
    tally.compare({healed_face(track=n, run="writer").id for n in range(last)}, arrived)
    return tally


def senders(rng: Random, kills: int, place: Path, broker: str) -> Tally:
    """The same for a process that sends to a broker meanwhile; at the end all must be in the topic."""
    kafka = _kafka(broker, place.name)

    def begin(first: int, last: int, told):
        return targets.start(targets.send_events, place / "outbox.sqlite", first, last, told, kafka)

    tally, last = _write_and_kill(rng, kills, begin, longest=1.0)
    tally.compare({healed_face(track=n, run="writer").id for n in range(last)}, topic_ids(broker, place.name))
    return tally


def _write_and_kill(rng: Random, kills: int, begin: Callable, *, longest: float) -> tuple[Tally, int]:
    """Returns the tally, and how many events were written in all."""
    tally, next_number = Tally(), 0

    def round_of(last: int, dying: bool) -> None:
        nonlocal next_number
        heard, told = multiprocessing.Pipe(duplex=False)
        began = time.monotonic()
        process = begin(next_number, last, told)
        told.close()
        # A quarter dies while it starts; the others some time after their first event.
        if dying and rng.random() < 0.25:
            time.sleep(rng.uniform(0, longest))
            process.kill()
        with contextlib.suppress(EOFError):
            due = None
            while True:
                if heard.poll(0.005):
                    next_number = heard.recv() + 1
                    if due is None:
                        due = time.monotonic() + rng.uniform(0, longest)
                        tally.recovery.append(time.monotonic() - began)
                if dying and due is not None and time.monotonic() >= due:
                    process.kill()
        process.join()
        heard.close()
        tally.kills += process.exitcode == -signal.SIGKILL

    while tally.kills < kills:
        round_of(1 << 30, True)
    # What was being added as it died is added once more: the same id adds nothing.
    round_of(next_number + 2, False)
    return tally, next_number


def recording_readers(rng: Random, kills: int, clip: Path, frames: int) -> Tally:
    """The reader process of a recording of `frames` numbered pictures is killed; every picture comes once, in order."""
    tally = Tally()
    while tally.kills < kills:
        arrived, killed_at, due = Counter(), None, time.monotonic() + rng.uniform(0, 1)
        since = 0  # pictures since the kill: the first lay in the ring already
        with Reader("clip", clip, live=False) as reader:
            while not reader.ended:
                frame = reader.read(0.02)
                now = time.monotonic()
                if frame is not None:
                    arrived[number_in(frame.image)] += 1
                    assert number_in(frame.image) == frame.sequence
                    since += 1
                    if killed_at is not None and since > 4:
                        tally.recovery.append(now - killed_at)
                        killed_at, due = None, now + rng.uniform(0, 0.5)
                    time.sleep(0.02)  # a consumer that has work to do
                if killed_at is None and now >= due and _kill_reader(reader):
                    killed_at, since = now, 0
                    tally.kills += 1
        tally.compare(set(range(frames)), arrived)
        tally.twice += arrived.total() - len(arrived)
    return tally


def camera_readers(rng: Random, kills: int, url: str) -> Tally:
    """The reader process of a live camera is killed; frames come again, in a new epoch. Counts epochs."""
    tally = Tally()
    with Reader("camera", url, live=True) as reader:
        epoch = _frame_of(reader, -1).epoch
        while tally.kills < kills:
            time.sleep(rng.uniform(0, 0.5))
            if not _kill_reader(reader):
                continue
            began = time.monotonic()
            tally.kills += 1
            frame = _frame_of(reader, epoch)
            tally.recovery.append(time.monotonic() - began)
            tally.came_in += 1
            tally.came_out += frame.epoch == epoch + 1
            epoch = frame.epoch
    return tally


def _frame_of(reader: Reader, after_epoch: int):
    """The next frame of a later epoch; what was decoded before the kill is passed over."""
    while (frame := reader.read(1.0)) is None or frame.epoch <= after_epoch:
        pass
    return frame


def _kill_reader(reader: Reader) -> bool:
    pid = reader.status.pid
    if pid is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def brokers(rng: Random, kills: int, place: Path, broker) -> Tally:
    """The broker is killed while events are sent to it, and started again; `broker`: tests/integration/kafka.py."""
    tally = Tally()
    kafka = _kafka(broker.plain, place.name)
    heard, told = multiprocessing.Pipe(duplex=False)
    stop = targets.start(targets.send_events, place / "outbox.sqlite", 0, 1 << 30, told, kafka, 0.05)
    told.close()
    last = -1
    try:
        for _ in range(kills):
            last = _listen(heard, last, rng.uniform(0.2, 3))
            broker.kill()
            tally.kills += 1
            last = _listen(heard, last, rng.uniform(0, 2))
            broker.start()
            began = time.monotonic()
            had = topic_ids(broker.plain, place.name).total()
            while topic_ids(broker.plain, place.name).total() <= had:
                last = _listen(heard, last, 0.1)
            tally.recovery.append(time.monotonic() - began)
    finally:
        stop.kill()
        stop.join()
    with contextlib.suppress(EOFError):
        while heard.poll(0):
            last = heard.recv()
    heard, told = multiprocessing.Pipe(duplex=False)
    _finish(targets.start(targets.send_events, place / "outbox.sqlite", last + 1, last + 3, told, kafka))
    tally.compare({healed_face(track=n, run="writer").id for n in range(last + 3)}, topic_ids(broker.plain, place.name))
    return tally


def _listen(heard, last: int, seconds: float) -> int:
    """The number heard last within `seconds`."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if heard.poll(left):
            last = heard.recv()
    return last


def _finish(process) -> None:
    process.join()
    assert process.exitcode == 0, f"a process that nobody killed ended with {process.exitcode}"


def _kafka(broker: str | None, topic: str) -> Kafka | None:
    return Kafka(bootstrap_servers=[broker], topic=topic, delivery_timeout=10) if broker else None


def _progress(out: Path) -> int:
    """Bytes of what a run has kept so far."""
    with contextlib.suppress(FileNotFoundError):
        return sum(log.stat().st_size for log in (out / "state").iterdir())
    return 0


def _folder(out: Path) -> Counter:
    return Counter(e["id"] for e in read_events(out))


def topic_ids(broker: str, topic: str) -> Counter:
    """How often each id is in the topic."""
    ids: Counter[str] = Counter()
    for record in _records(broker, topic):
        ids[dict(record.headers)["ce_id"].decode()] += 1
    return ids


def _records(broker: str, topic: str) -> Iterator:
    consumer = KafkaConsumer(bootstrap_servers=[broker], group_id=None, auto_offset_reset="earliest")
    try:
        parts = [TopicPartition(topic, n) for n in consumer.partitions_for_topic(topic) or ()]
        ends = consumer.end_offsets(parts)
        consumer.assign(parts)
        while any(consumer.position(part) < end for part, end in ends.items()):
            for batch in consumer.poll(500).values():
                yield from batch
    finally:
        consumer.close()
