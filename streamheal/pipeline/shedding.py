"""A live run outlives a full disk: what a sink can't keep is given up, counted and told, and it is tried again."""

import logging
import time
from collections.abc import Callable

from streamheal.errors import SinkError
from streamheal.publish.sink import Sink
from streamheal.publish.spell import Spell
from streamheal.records import HealedFace

log = logging.getLogger(__name__)

FIRST_REST, LONGEST_REST = 0.5, 10.0  # seconds; it doubles with each refusal


class SheddingSink:
    """Stands before `sink`, and never raises from `add`. After a refusal the sink is left alone for a while; faces that
    come meanwhile are shed, too. `clock`: seconds."""

    def __init__(self, sink: Sink, clock: Callable[[], float] = time.monotonic):
        self.name = sink.name
        self._sink = sink
        self._clock = clock
        self._spell = Spell(log, f"{sink.name} keeps faces again; %d are missing there", clock)
        self._shed = 0
        self._rest = FIRST_REST
        self._again = float("-inf")

    def add(self, face: HealedFace) -> None:
        if self._clock() < self._again:
            self._give_up(f"{self.name} rests after a refusal")
            return
        try:
            self._sink.add(face)
        except SinkError as error:
            self._again = self._clock() + self._rest
            self._rest = min(2 * self._rest, LONGEST_REST)
            self._give_up(str(error))
        else:
            self._rest = FIRST_REST
            self._spell.well()

    def flush(self, timeout: float) -> bool:
        return self._sink.flush(timeout)

    def counts(self) -> dict[str, int]:
        counts = self._sink.counts()
        return {**counts, "shed": counts.get("shed", 0) + self._shed}

    def close(self) -> None:
        self._sink.close()

    def _give_up(self, why: str) -> None:
        self._shed += 1
        self._spell.trouble(f"{why}; meanwhile faces are missing there, and {self.name}.shed counts them")
