"""Whatever is done to an outbox in whatever order: every event is accounted for, and none is in two places."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streamheal.publish.outbox import Outbox

ROOM = 120_000  # bytes: a dozen of the events below, beside what an empty file takes

names = st.builds("run/{}/0/{}/{}".format, st.sampled_from("ab"), st.integers(1, 4), st.integers(1, 3))


class AnyOrder(RuleBasedStateMachine):
    """Beside the outbox a model: where each event must be. What was shed the model asks the outbox for."""

    @initialize()
    def make(self):
        memory = Path("/dev/shm")  # where there is one: nothing here is about what reaches the disk
        self.folder = tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
        self.waiting: dict[str, int] = {}  # id → when it was added
        self.dead: dict[str, int] = {}
        self.added = self.acknowledged = self.forgotten = self.shed = 0
        self.now = 0
        self.box = self.open()

    def open(self) -> Outbox:
        path = Path(self.folder.name) / "outbox.sqlite"
        return Outbox(path, max_bytes=ROOM, shedding=True, ballast=0, clock=lambda: self.now)

    def teardown(self):
        if hasattr(self, "box"):
            self.box.close()
            self.folder.cleanup()

    @rule(id=names, size=st.integers(0, 30_000), last=st.booleans())
    def add(self, id, size, last):
        self.now += 1
        new = self.box.add(id, b"k", [("ce_id", id.encode())], bytes(size), last=last)
        assert new == (id not in self.waiting and id not in self.dead)
        if new:
            self.added += 1
            self.waiting[id] = self.now
        kept = {entry.id for dead in (False, True) for entry in self.box.entries(dead=dead)}
        for here in (self.waiting, self.dead):
            for gone in here.keys() - kept:
                del here[gone]
                self.shed += 1

    @rule(count=st.integers(1, 5))
    def acknowledge(self, count):
        events = self.box.pending(limit=count)
        assert [event.id for event in events] == sorted(self.waiting, key=self.waiting.get)[:count]
        self.box.acknowledge(events)
        for event in events:
            del self.waiting[event.id]
        self.acknowledged += len(events)

    @rule(count=st.integers(1, 3))
    def acknowledge_what_is_gone_meanwhile(self, count):
        events = self.box.pending(limit=count)
        self.forget({event.id.split("/")[1] for event in events})
        self.box.acknowledge(events)

    @precondition(lambda self: self.waiting)
    @rule()
    def bury(self):
        event = self.box.pending(limit=1)[0]
        self.box.bury(event, "refused")
        self.dead[event.id] = self.waiting.pop(event.id)

    @rule(every=st.booleans())
    def resend(self, every):
        ids = None if every else list(self.dead)[:1]
        meant = self.dead.copy() if every else {id: self.dead[id] for id in ids}
        assert self.box.resend(ids) == len(meant)
        self.waiting |= meant
        self.dead = {id: at for id, at in self.dead.items() if id not in meant}

    @rule(age=st.integers(0, 20))
    def purge(self, age):
        meant = {id for id, at in self.dead.items() if at < self.now - age}
        assert self.box.purge(before_ns=(self.now - age) * 1_000_000_000) == len(meant)
        self.drop(meant)

    @rule(cameras=st.sets(st.sampled_from("ab"), max_size=1))
    def forget(self, cameras):
        for camera in cameras:
            meant = {id for id in (*self.waiting, *self.dead) if id.split("/")[1] == camera}
            assert self.box.forget(camera=camera) == len(meant)
            self.drop(meant)

    @rule(age=st.integers(5, 40))
    def expire(self, age):
        meant = {id for id, at in (self.waiting | self.dead).items() if at < self.now - age}
        assert self.box.expire((self.now - age) * 1_000_000_000) == len(meant)
        self.drop(meant)

    def drop(self, ids):
        for here in (self.waiting, self.dead):
            for id in ids & here.keys():
                del here[id]
                self.forgotten += 1

    @rule()
    def reopen(self):
        self.box.close()
        self.box = self.open()

    @invariant()
    def every_event_is_accounted_for(self):
        if not hasattr(self, "box"):
            return
        accounts = self.box.accounts()
        assert accounts.balanced, accounts
        assert (accounts.added, accounts.acknowledged, accounts.shed, accounts.forgotten) == (
            self.added, self.acknowledged, self.shed, self.forgotten,
        )  # fmt: skip
        assert {entry.id for entry in self.box.entries(dead=False)} == self.waiting.keys()
        assert {entry.id for entry in self.box.entries(dead=True)} == self.dead.keys()
        assert self.box.used <= ROOM


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
