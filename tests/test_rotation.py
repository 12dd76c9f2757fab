"""A change of keys reaches everything that is kept, survives kills, and lets the older key go."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from streamheal.config import Kafka, Output, PipelineConfig, Source
from streamheal.errors import ConfigError
from streamheal.kept import Kept
from streamheal.publish import event
from streamheal.publish.folder import FolderSink, read_embedding, read_events, read_picture
from streamheal.publish.outbox import Outbox
from streamheal.publish.pictures import from_png
from streamheal.publish.report import write_report
from streamheal.rotation import rotate, seals
from streamheal.vault import Vault
from tests import targets
from tests.publish.faces import healed_face

KEYS = {"old": b"1" * 32, "new": b"2" * 32}
PLAIN, OLD = Vault(), Vault("old", {"old": KEYS["old"]})
BOTH, NEW = Vault("new", KEYS), Vault("new", {"new": KEYS["new"]})
FACES = [healed_face(track=1), healed_face(track=2, seed=2), healed_face(track=3, seed=3, restored=False)]


def kept_in(folder: Path) -> Kept:
    kafka = Kafka(bootstrap_servers=["localhost:9"])
    return Kept.by(PipelineConfig(source=Source(path=folder), output=Output(path=folder), kafka=kafka))


def keep(folder: Path, vault: Vault, faces=FACES) -> Kept:
    kept = kept_in(folder)
    with closing(Outbox(kept.outbox, vault=vault)) as outbox, closing(FolderSink(folder, vault=vault)) as sink:
        for face in faces:
            outbox.add(face.id, event.key(face), event.attributes(face), event.encode(face))
            sink.add(face)
    return kept


def assert_whole(folder: Path, vault: Vault, faces=FACES) -> None:
    """Everything that was kept opens with `vault` and is what it was."""
    events = read_events(folder)
    assert [e["id"] for e in events] == [f.id for f in faces]
    for said, face in zip(events, faces, strict=True):
        assert np.array_equal(from_png(read_picture(folder, said, "original", vault)), face.original)
        assert all(read_picture(folder, said, kind, vault) for kind in said["pictures"])
        assert np.allclose(read_embedding(said, "original", vault), face.embedding_original, atol=1e-6)
        if face.restored is not None:
            assert np.allclose(read_embedding(said, "restored", vault), face.embedding_restored, atol=1e-6)
    with closing(Outbox(folder / "outbox.sqlite", vault=vault)) as outbox:
        assert [e.payload for e in outbox.pending(1000, 10**9)] == [event.encode(f) for f in faces]


@pytest.mark.parametrize("before", [OLD, PLAIN], ids=["sealed under the old key", "plain"])
def test_everything_opens_with_the_new_key_alone(tmp_path, before):
    kept = keep(tmp_path, before)
    done = rotate(kept, BOTH)
    assert (done.events, done.pictures, done.outbox, done.failed) == (3, 11, 3, [])
    assert set(seals(kept)) == {"new"}
    assert_whole(tmp_path, NEW)
    assert {e["sealed"] for e in read_events(tmp_path)} == {"new"}
    assert all(p.name.endswith(".png.sealed") for p in tmp_path.glob("faces/*/*"))


def test_nothing_plain_is_left_once_encryption_is_turned_on(tmp_path):
    kept = keep(tmp_path, PLAIN)
    write_report(tmp_path, title="", facts={})
    assert rotate(kept, BOTH).report
    left = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and "ballast" not in p.name)
    assert b"IHDR" not in left and not (tmp_path / "report.html").exists()


def test_the_second_time_there_is_nothing_to_do(tmp_path):
    kept = keep(tmp_path, OLD)
    rotate(kept, BOTH)
    before = {p: p.read_bytes() for p in tmp_path.glob("faces/*/*")}
    done = rotate(kept, BOTH)
    assert (done.events, done.pictures, done.outbox) == (0, 0, 0)
    assert before == {p: p.read_bytes() for p in tmp_path.glob("faces/*/*")}


def test_what_does_not_open_is_named_and_the_rest_is_sealed(tmp_path):
    kept = keep(tmp_path, OLD)
    broken = tmp_path / read_events(tmp_path)[0]["pictures"]["original"]
    broken.write_bytes(broken.read_bytes()[:-1] + b"?")
    done = rotate(kept, BOTH)
    assert done.failed == [str(broken.relative_to(tmp_path))]
    assert seals(kept)["old"] == 1 and done.pictures == 10


def test_without_the_old_key_nothing_is_lost(tmp_path):
    kept = keep(tmp_path, OLD)
    assert len(rotate(kept, NEW).failed) == 11 + 3 + 3
    assert_whole(tmp_path, OLD)


def test_without_any_key_it_says_what_to_give(tmp_path):
    with pytest.raises(ConfigError, match=r"encryption\.use and encryption\.keys"):
        rotate(kept_in(tmp_path), PLAIN)


def test_a_run_that_goes_on_with_the_old_key_shows(tmp_path):
    kept = keep(tmp_path, OLD)
    sink = FolderSink(tmp_path, vault=OLD)
    rotate(kept, BOTH)
    sink.add(healed_face(track=4))
    sink.close()
    assert seals(kept)["old"] == 4 + 2
    rotate(kept, BOTH)
    assert set(seals(kept)) == {"new"}


@pytest.mark.parametrize("before", [OLD, PLAIN], ids=["sealed", "plain"])
def test_a_rotation_killed_at_any_line_goes_on(tmp_path, before):
    heard, told = targets._context.Pipe(duplex=False)
    keep(tmp_path / "whole", before)
    targets.start(rotate_and_die, tmp_path / "whole", None, told).join(60)
    lines = heard.recv()
    for step in range(1, 7):
        folder = tmp_path / str(step)
        kept = keep(folder, before)
        process = targets.start(rotate_and_die, folder, lines * step // 7)
        process.join(60)
        assert process.exitcode == -9
        assert_whole(folder, BOTH)
        assert not rotate(kept, BOTH).failed
        assert_whole(folder, NEW)
        assert set(seals(kept)) == {"new"}
        assert len(list(folder.glob("faces/*/*"))) == 11, "nothing half written is left"


def rotate_and_die(folder: Path, die_at: int | None, tell=None) -> None:
    targets.WATCHED = ("rotation.py", "event_file.py", "outbox.py", "outbox_file.py")
    counter = targets.LineCounter(die_at)
    counter.watch()
    rotate(kept_in(folder), BOTH)
    if tell:
        tell.send(counter.lines)
