"""What was forgotten is not published again: neither its events, nor later ones of its tracks."""

import dataclasses
import threading
import time

import pytest

from streamheal.forgotten import EVERYTHING, Forgotten
from tests.publish.faces import healed_face


def job(track=12, revision=1):
    return healed_face(track=track, revision=revision).job


def held_back(memory: Forgotten, wanted) -> bool:
    with memory.publishing(wanted) as may:
        return not may


def test_a_forgotten_event_is_held_back_and_its_neighbours_are_not(tmp_path):
    memory = Forgotten(tmp_path)
    memory.add([job().id])
    assert held_back(memory, job())
    assert not held_back(memory, job(revision=2)) and not held_back(memory, job(track=13))


def test_a_forgotten_track_is_held_back_for_good(tmp_path):
    memory = Forgotten(tmp_path)
    memory.add(["run/gate/0/12"])
    assert held_back(memory, job()) and held_back(memory, job(revision=7))
    assert not held_back(memory, job(track=1))
    assert not held_back(memory, dataclasses.replace(job(), run="another"))


def test_what_was_sent_before_a_camera_was_forgotten_is_held_back_and_what_comes_later_is_not(tmp_path):
    memory = Forgotten(tmp_path)
    memory.add([], until=("gate", 1000.0))
    assert memory.holds("run/gate/0/1/1", 999.0) and not memory.holds("run/gate/0/1/1", 1000.0)
    assert not memory.holds("run/gat/0/1/1", 999.0)
    assert job() not in memory, "what is found here goes by its id"


@pytest.mark.parametrize("name", ["gate/0/12", "run/gate/0/12", EVERYTHING])
def test_a_track_of_any_run_or_of_one_or_everything_can_be_meant(tmp_path, name):
    Forgotten(tmp_path).add([], until=(name, 1000.0))
    memory = Forgotten(tmp_path)
    assert memory.holds("run/gate/0/12/3", 999.0) and not memory.holds("run/gate/0/12/3", 1001.0)
    assert memory.holds("another/gate/0/12/3", 999.0) == (name != "run/gate/0/12")
    assert memory.holds("run/gate/0/1/3", 999.0) == (name == EVERYTHING)


def test_of_two_moments_the_later_one_counts(tmp_path):
    memory = Forgotten(tmp_path)
    for moment in (1000.0, 2000.0, 1500.0):
        memory.add([], until=("gate", moment))
    assert memory.holds("run/gate/0/1/1", 1999.0) and not memory.holds("run/gate/0/1/1", 2001.0)


def test_it_is_remembered_over_restarts_and_seen_at_once_by_a_run_that_goes_on(tmp_path):
    running = Forgotten(tmp_path)
    assert not held_back(running, job())
    Forgotten(tmp_path).add([job().id])
    assert held_back(running, job()) and held_back(Forgotten(tmp_path), job())


def test_a_line_that_a_crash_cut_short_costs_no_other(tmp_path):
    Forgotten(tmp_path).add([job().id, job(revision=2).id])
    path = tmp_path / "forgotten"
    path.write_bytes(path.read_bytes()[:-10])
    Forgotten(tmp_path).add([job(revision=3).id])
    assert held_back(Forgotten(tmp_path), job(revision=3))


def test_the_file_names_nobody(tmp_path):
    Forgotten(tmp_path).add([job().id])
    assert b"gate" not in (tmp_path / "forgotten").read_bytes()


def test_who_deletes_waits_for_what_is_on_its_way_to_a_sink(tmp_path):
    """Else an event could arrive after everything was searched for it."""
    running, written = Forgotten(tmp_path), threading.Event()

    def forget():
        Forgotten(tmp_path).add([job().id])
        written.set()

    with running.publishing(job()) as may:
        assert may
        thread = threading.Thread(target=forget)
        thread.start()
        time.sleep(0.2)
        assert not written.is_set()
    assert written.wait(60)
    thread.join()


@pytest.mark.parametrize("names", [[], ["a"] * 3])
def test_nothing_and_the_same_twice_are_fine(tmp_path, names):
    Forgotten(tmp_path).add(names)
    assert (tmp_path / "forgotten").read_bytes().count(b"\n") == len(set(names))
