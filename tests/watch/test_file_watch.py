"""A file that changes, in all the ways in which files are changed."""

import os

import pytest

from streamheal.watch.file_watch import FileWatch


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("one")
    return path


def looks(watch: FileWatch, times: int = 3) -> list[bool]:
    return [watch.changed() for _ in range(times)]


def in_place(path, text):
    path.write_text(text)


def by_rename(path, text):
    fresh = path.with_suffix(".tmp")
    fresh.write_text(text)
    fresh.replace(path)


def by_backup(path, text):
    path.rename(path.with_suffix(".bak"))
    path.write_text(text)


@pytest.mark.parametrize("save", [in_place, by_rename, by_backup])
def test_new_content_is_told_once_when_it_has_settled(path, save):
    watch = FileWatch(path)
    assert looks(watch) == [False, False, False]
    save(path, "two")
    assert looks(watch) == [False, True, False]


def test_a_file_that_is_still_being_written_is_waited_for(path):
    watch = FileWatch(path)
    told = []
    for part in ("cam", "camera", "cameras: ["):
        path.write_text(part)
        told.append(watch.changed())
    assert told == [False, False, False]
    assert looks(watch) == [True, False, False]


def test_somebody_who_asks_gets_it_at_once(path):
    watch = FileWatch(path)
    path.write_text("two")
    assert watch.changed(settled=False)
    assert looks(watch) == [False, False, False]


def test_the_same_content_written_again_is_no_news(path):
    watch = FileWatch(path)
    by_rename(path, "one")
    os.utime(path, (1, 1))
    assert looks(watch) == [False, False, False]


def test_a_file_that_is_gone_is_no_news_until_it_is_back_with_other_content(path):
    watch = FileWatch(path)
    path.unlink()
    assert looks(watch) == [False, False, False]
    path.write_text("two")
    assert looks(watch) == [False, True, False]


def test_a_link_that_points_elsewhere_is_followed(tmp_path):
    """As Kubernetes mounts a ConfigMap: the file is a link into a folder that is a link, which is swapped."""
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "p.yaml").write_text(version)
    (tmp_path / "data").symlink_to("one")
    (tmp_path / "p.yaml").symlink_to("data/p.yaml")
    watch = FileWatch(tmp_path / "p.yaml")
    (tmp_path / "fresh").symlink_to("two")
    (tmp_path / "fresh").replace(tmp_path / "data")
    assert looks(watch) == [False, True, False]
