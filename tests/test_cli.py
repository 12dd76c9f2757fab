"""The commands, as a person would call them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamheal import config, weights
from streamheal.cli import app
from streamheal.errors import StreamhealError

ROOT = Path(__file__).parent.parent


def call(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def test_doctor_tells_cores_codecs_and_every_weight_with_its_hash():
    done = call("doctor")
    assert done.exit_code == 0, done.output
    for name, file in weights.manifest().items():
        assert name in done.output and file.sha256 in done.output
    assert "cores" in done.output and "h264" in done.output and "centerface" in done.output


def test_doctor_fails_where_weights_are_damaged(tmp_path, monkeypatch):
    import shutil

    models = tmp_path / "models"
    shutil.copytree(weights.folder(), models)
    next(models.glob("*.safetensors")).write_bytes(b"")
    monkeypatch.setenv("STREAMHEAL_MODELS", str(models))
    done = call("doctor")
    assert done.exit_code == 1
    assert "MISSING" in done.output and "is empty" in done.output


def test_schema_prints_the_json_schema():
    assert json.loads(call("schema").output) == config.schema()


def test_validate_says_what_a_good_file_does():
    done = call("validate", str(ROOT / "pipelines" / "cctv.yaml"))
    assert done.exit_code == 0 and "2 cameras" in done.output


def test_validate_raises_what_main_prints(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("source: {path: a}\nfoo: 1\n")
    done = call("validate", str(path))
    assert isinstance(done.exception, StreamhealError)
    assert str(done.exception).startswith(f"{path}:2: foo: unknown key; allowed here: source, detector")


def test_a_pipeline_file_that_ships_is_found_without_the_checkout(tmp_path, monkeypatch):
    from streamheal import cli

    monkeypatch.chdir(tmp_path)
    packaged = tmp_path / "package" / "_pipelines"
    packaged.mkdir(parents=True)
    (packaged / "demo.yaml").write_text("source: {rendered: {}}\n")
    monkeypatch.setattr(cli, "__file__", str(tmp_path / "package" / "cli.py"))
    done = call("validate", "pipelines/demo.yaml")
    assert done.exit_code == 0 and "demo clip" in done.output


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("run", "--help"), ("train", "--help")])
def test_help_and_version_answer(arguments):
    assert call(*arguments).exit_code == 0
