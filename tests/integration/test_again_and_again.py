"""A program that calls the pipeline again and again, for weeks."""

import multiprocessing

import pytest

from streamheal.config import Gallery, Kafka, Output, PipelineConfig, Source
from tests import targets
from tests.memory import held
from tests.video.clips import write_clip

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

RUNS = 12
BETWEEN = 7  # runs from the first that are compared to the last ones


def test_a_program_that_heals_again_and_again_keeps_nothing_of_the_runs_before(kafka_bootstrap, kafka_topic, tmp_path):
    clip = write_clip(tmp_path / "recording.mp4", 40)
    config = PipelineConfig(
        source=Source(path=clip),
        output=Output(path=tmp_path / "out", report=False),
        kafka=Kafka(bootstrap_servers=[kafka_bootstrap], topic=kafka_topic),
        gallery=Gallery(improve_by=0.01, min_interval=0.2),
    )
    hears, tells = multiprocessing.Pipe(duplex=False)
    process = targets.start(targets.heal_again_and_again, config, tells, held)
    try:
        told = []
        while len(told) < RUNS:
            assert hears.poll(120), "no run has ended"
            told.append(hears.recv())
    finally:
        process.kill()
    events, after = zip(*told, strict=True)
    assert all(events), events

    # Of three runs each what all of them have: a thread that is just ending doesn't count.
    early, late = after[2] & after[3] & after[4], after[-3] & after[-2] & after[-1]
    assert not {what: more for what, more in (late - early).items() if more >= BETWEEN}
