"""A pipeline file is checked whole, and every complaint names file, line and key."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamheal import config, pipeline_file
from streamheal.errors import ConfigError
from streamheal.pipeline_file import PipelineFileError

SHIPPED = sorted((Path(__file__).parent.parent / "pipelines").glob("*.yaml"))


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    return path


def complaints(tmp_path: Path, text: str, overrides=()) -> list[str]:
    path = write(tmp_path, text)
    with pytest.raises(PipelineFileError) as caught:
        pipeline_file.load(path, overrides)
    return [str(p).removeprefix(str(path)) for p in caught.value.problems]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.name)
def test_every_shipped_file_is_valid(path):
    pipeline_file.load(path)


def test_unknown_keys_are_errors_that_name_line_key_and_what_is_allowed(tmp_path):
    [found] = complaints(tmp_path, "source:\n  path: a.mp4\ndetector:\n  scale: 2\n  min_scor: 0.5\n")
    assert found.startswith(":5: detector.min_scor: unknown key; allowed here: name, weights, ")
    assert found.endswith("did you mean min_score?")


def test_all_problems_are_told_at_once_with_their_lines(tmp_path):
    found = complaints(tmp_path, "source:\n  path: a\ndetector:\n  scale: nine\ntracker:\n  lost_after: -1\n")
    assert [f.split(":")[1] for f in found] == ["4", "6"]


def test_a_problem_inside_a_list_names_its_index_and_line(tmp_path):
    text = "source:\n  cameras:\n    - name: a\n      url: rtsp://h/1\n    - name: b\n      url: ftp://h/2\n"
    [found] = complaints(tmp_path, text)
    assert found.startswith(":5: source.cameras[1]: the url begins with 'ftp'; allowed: rtsp, rtsps, http, https")


def test_passwords_are_never_printed(tmp_path, monkeypatch):
    monkeypatch.setenv("CAMERA_PASSWORD", "hunter2")
    good = "source:\n  cameras:\n    - {name: a, url: 'rtsp://me:${CAMERA_PASSWORD}@h/1'}\n"
    loaded = pipeline_file.load(write(tmp_path, good))
    assert loaded.source.cameras[0].url.get_secret_value() == "rtsp://me:hunter2@h/1"
    assert "hunter2" not in repr(loaded) + loaded.model_dump_json()
    bad = "source:\n  cameras:\n    - {name: a, url: 'ftp://me:${CAMERA_PASSWORD}@h/1'}\n"
    assert "hunter2" not in "".join(complaints(tmp_path, bad))


def test_a_variable_that_is_not_set_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("NO_SUCH", raising=False)
    [found] = complaints(tmp_path, "source:\n  path: ${NO_SUCH}/a.mp4\n")
    assert found == ":2: source.path: environment variable NO_SUCH is not set"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [1", "is not YAML"),
        ("- 1\n- 2\n", "must hold keys and values"),
        ("", "must hold keys and values"),
        ("source:\n  path: a\nsource:\n  path: b\n", "given twice; first in line 1"),
        ("source: !!python/object/apply:os.system ['true']\n", "not plain YAML"),
        ("output:\n  path: x\n", "source: is missing"),
        ("source: {path: a, rendered: {}}\n", "exactly one of path, cameras, rendered; given: path, rendered"),
        ("source: {path: a}\noutput: null\n", "nothing would be kept"),
        ("source: {cameras: []}\n", "at least 1 item"),
        (
            "source: {path: a}\nkafka: {bootstrap_servers: [b], security_protocol: SASL_SSL}\n",
            "SASL_SSL also needs sasl_mechanism, username, password",
        ),
    ],
)
def test_bad_files_say_what_is_wrong(tmp_path, text, expected):
    assert expected in "\n".join(complaints(tmp_path, text))


def test_a_missing_file_says_what_to_give(tmp_path):
    with pytest.raises(PipelineFileError, match="give the path of a pipeline file"):
        pipeline_file.load(tmp_path / "none.yaml")


def test_set_overrides_any_key_with_yaml_values(tmp_path):
    path = write(tmp_path, "source:\n  path: a\n")
    loaded = pipeline_file.load(
        path, ["output.path=out", "detector.scale=2", "restorer.mark=false", "tracker.lost_after=3"]
    )
    assert (str(loaded.output.path), loaded.detector.scale, loaded.restorer.mark) == ("out", 2.0, False)
    assert loaded.tracker.lost_after == 3


def test_set_reaches_into_lists_and_may_choose_another_source():
    demo, cctv = (next(p for p in SHIPPED if p.stem == stem) for stem in ("demo", "cctv"))
    assert pipeline_file.load(demo, ["source.path=a.mp4"]).source.rendered is None
    cameras = pipeline_file.load(cctv, ["source.cameras.1.name=roof"]).source.cameras
    assert [c.name for c in cameras] == ["gate", "roof"]


@pytest.mark.parametrize("override", ["output.path", "=1", "a..b=1", "source.cameras.9.name=x", "source.path.x=1"])
def test_a_malformed_override_is_a_clear_error(override):
    cctv = next(p for p in SHIPPED if p.stem == "cctv")
    with pytest.raises(ConfigError):
        pipeline_file.load(cctv, [override])


def test_an_override_that_is_not_valid_names_the_key(tmp_path):
    [found] = complaints(tmp_path, "source:\n  path: a\n", ["detector.scale=99"])
    assert "detector.scale: " in found and "less than or equal to 4" in found


def test_a_bomb_of_aliases_is_refused(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert "more than" in complaints(tmp_path, "\n".join(lines))[0]


@given(st.text(max_size=200))
def test_whatever_the_file_says_the_answer_is_a_config_or_a_clear_error(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    with pytest.raises(PipelineFileError):
        pipeline_file.load(path)


def test_the_schema_allows_what_the_loader_allows():
    schema = config.schema()
    assert json.loads(json.dumps(schema)) == schema
    assert set(schema["properties"]) == set(config.PipelineConfig.model_fields)
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["source"]
