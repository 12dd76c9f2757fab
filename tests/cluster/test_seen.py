"""Which jobs a worker's partitions have seen."""

from types import SimpleNamespace

from kafka import TopicPartition

from streamheal.cluster import crops
from streamheal.cluster.seen import LOOK_BACK, MOST, Seen
from tests.publish.sample import healed_face

PLACE = TopicPartition("crops.v1", 0)


class Log:
    """One partition, and a consumer of it that can be sent back."""

    def __init__(self, *tracks: int):
        self.jobs = [healed_face(track=track).job for track in tracks]
        self.position = 0

    def seek(self, place: TopicPartition, offset: int) -> None:
        self.position = offset

    def rest(self) -> list:
        numbered = enumerate(self.jobs)
        found = [SimpleNamespace(offset=at, value=crops.encode(job)) for at, job in numbered if at >= self.position]
        self.position = len(self.jobs)
        return found


def test_a_partition_taken_over_is_looked_back_at_and_only_what_is_new_is_fresh():
    log = Log(1, 2, 3, 2, 4)
    seen = Seen(log)
    seen.own([PLACE])
    log.position = 3  # the group's place
    assert seen.fresh(PLACE, log.rest()) == [] and log.position == 0
    assert [record.offset for record in seen.fresh(PLACE, log.rest())] == [3, 4]
    assert seen.has(PLACE, log.jobs[3].id), "the same job again"
    assert not seen.has(PLACE, log.jobs[4].id)


def test_a_partition_that_stays_is_not_looked_back_at_and_one_that_went_is_forgotten():
    log = Log(1, 2, 3)
    seen = Seen(log)
    seen.own([PLACE])
    assert len(seen.fresh(PLACE, log.rest())) == 3, "from the very beginning there is nothing behind"
    seen.add(PLACE, [job.id for job in log.jobs])
    seen.own([PLACE, TopicPartition("crops.v1", 1)])
    assert seen.has(PLACE, log.jobs[0].id)
    seen.own([])
    assert not seen.has(PLACE, log.jobs[0].id)


def test_the_memory_is_bounded():
    seen = Seen(Log())
    seen.add(PLACE, (str(n) for n in range(MOST + 10)))
    assert not seen.has(PLACE, "9") and seen.has(PLACE, "10")
    assert LOOK_BACK < MOST
