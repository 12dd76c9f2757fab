"""kill -9 at random moments: whatever `add` has promised is there, the file opens, and the accounts balance."""

import itertools
import os
import random
import signal
import time
from pathlib import Path

from streamheal.publish.outbox import Outbox

KILLS = 40


def write(path: Path, run: int, said: int) -> None:
    """Add for ever, and settle what waits in every way there is; say to the pipe `said` what was done."""
    dice = random.Random(run)

    def say(*words: str) -> None:
        os.write(said, " ".join((*words, "\n")).encode())

    say("open", "soon")
    box = Outbox(path, ballast=100_000, max_bytes=3_000_000, shedding=True)
    for n in itertools.count():
        id = f"run{run}/gate/0/{n}/1"
        box.add(id, b"gate", [], dice.randbytes(dice.randrange(60_000)), last=True)
        say("added", id)
        if n % 5 == 4:
            events = box.pending(limit=3)
            say("acknowledging", *(event.id for event in events))
            box.acknowledge(events)
        if n % 11 == 10:
            box.bury(box.pending(limit=1)[0], "refused")


def killed(path: Path, run: int, lines_first: int, then: float) -> list[list[str]]:
    """What a writer said before it was killed, `then` seconds after so many lines. Forked: an interpreter's start takes
    longer than all the rest."""
    heard, said = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            write(path, run, said)
        finally:
            os._exit(1)  # whatever happens: two pytests must not go on
    os.close(said)
    with os.fdopen(heard) as lines:
        told = [lines.readline() for _ in range(1 + lines_first)][1:]
        time.sleep(then)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the writer failed before it was killed"
        return [line.split() for line in (*told, *lines) if line.endswith("\n")]


def test_nothing_that_was_promised_is_lost_and_every_event_is_accounted_for(tmp_path):
    path, dice = tmp_path / "outbox.sqlite", random.Random(1)
    added, acknowledging = set(), set()
    for run in range(KILLS):
        for what, *ids in killed(path, run, dice.randrange(16), dice.random() * 0.02):
            (added if what == "added" else acknowledging).update(ids)
        box = Outbox(path, ballast=0)
        box.check()
        accounts = box.accounts()
        here = {entry.id for dead in (False, True) for entry in box.entries(dead=dead)}
        box.close()
        assert accounts.balanced
        # All that was promised, and at most one a kill that was written and not said any more.
        assert len(added) <= accounts.added <= len(added) + run + 1
        # What is not here any more was acknowledged or shed, and counted as that.
        missing = added - here
        assert len(missing - acknowledging) <= accounts.shed
        assert len(missing) <= accounts.acknowledged + accounts.shed
    assert len(added) > KILLS and acknowledging, "the writer was killed before it did anything: nothing was tested"
