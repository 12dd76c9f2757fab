"""A heal worker in a process of its own that one job kills, as a fault in a driver would.

python mortal_worker.py PIPELINE_AS_JSON TRACK
"""

import dataclasses
import json
import os
import signal
import sys
import threading
from contextlib import closing

from streamheal.cluster.worker import HealWorker
from streamheal.config import PipelineConfig
from streamheal.forgotten import Forgotten
from streamheal.watch.counters import Counters
from tests.publish.sample import healed_face


class Mortal:
    """A healer that takes no time, and does not survive a certain track."""

    def __init__(self, track: int):
        self._track = track

    def heal(self, jobs, *, restoring: bool = True):
        if any(job.track == self._track for job in jobs):
            os.kill(os.getpid(), signal.SIGKILL)
        return [dataclasses.replace(healed_face(), job=job) for job in jobs]


if __name__ == "__main__":
    config = PipelineConfig.model_validate(json.loads(sys.argv[1]))
    with closing(Forgotten(config.state)) as forgotten:
        HealWorker(config, Counters(), threading.Event()).run(Mortal(int(sys.argv[2])), forgotten)
