"""What a change of the pipeline file would do: said before, done by a live run, and no secret shown."""

import copy

import pytest
from typer.testing import CliRunner

from streamheal import changes
from streamheal.cli import app
from streamheal.config import PipelineConfig

BEFORE = {
    "source": {
        "cameras": [
            {"name": "gate", "url": "rtsp://me:hunter2@10.0.0.1/s?token=abc"},
            {"name": "roof", "url": "rtsp://10.0.0.2/s"},
        ]
    },
    "kafka": {"bootstrap_servers": ["b:9092"], "security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN"}
    | {"username": "u", "password": "hunter2"},
}


KEY = "MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE="


def gate(data, **settings):
    data["source"]["cameras"][0] |= settings


def said(change) -> list[str]:
    after = copy.deepcopy(BEFORE)
    change(after)
    found = changes.compare(PipelineConfig.model_validate(BEFORE), PipelineConfig.model_validate(after))
    return [str(c) for c in found]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda d: None, []),
        (lambda d: d["source"]["cameras"].reverse(), []),
        (lambda d: d["source"]["cameras"].pop(), ["camera removed: roof (its confirmed tracks are published)"]),
        (
            lambda d: d["source"]["cameras"].append({"name": "hall", "url": "rtsp://me:pw@10.0.0.3/s"}),
            ["camera added: hall (rtsp://***@10.0.0.3/s)"],
        ),
        (
            lambda d: gate(d, url="rtsp://me:other@10.0.0.9/s?token=abc"),
            ["camera restarted: gate (url rtsp://***@10.0.0.1/s?*** → rtsp://***@10.0.0.9/s?***)"],
        ),
        (
            lambda d: gate(d, url="rtsp://me:other@10.0.0.1/s?token=abc", stall_timeout=5),
            ["camera restarted: gate (url changed in its credentials or query, stall_timeout 10 → 5)"],
        ),
        (
            lambda d: gate(d, name="door"),
            [
                "camera removed: gate (its confirmed tracks are published)",
                "camera added: door (rtsp://***@10.0.0.1/s?***)",
            ],
        ),
        (lambda d: d.update(limits={"cameras": 3}), ["applied at once: limits.cameras (none → 3)"]),
        (lambda d: d.update(retention="72h"), ["applied at once: retention (none → 72h)"]),
        (
            lambda d: d.update(encryption={"use": "k2", "keys": {"k1": KEY, "k2": KEY}}),
            ["needs a restart of the run: encryption (none → given)"],
        ),
        (
            lambda d: d.update(detector={"name": "yunet", "scale": 2}),
            [
                "needs a restart of the run: detector.name (auto → yunet)",
                "needs a restart of the run: detector.scale (1 → 2)",
            ],
        ),
        (
            lambda d: d["kafka"].update(password="other"),
            ["needs a restart of the run: kafka.password (a secret, changed)"],
        ),
        (lambda d: d.pop("kafka"), ["needs a restart of the run: kafka (given → none)"]),
        (
            lambda d: d.update(source={"path": "a.mp4"}),
            [
                "needs a restart of the run: source.path (none → a.mp4)",
                "needs a restart of the run: source.cameras ([given, given] → none)",
            ],
        ),
    ],
)
def test_each_difference_is_told_with_what_comes_of_it(change, expected):
    assert said(change) == expected


def test_a_new_key_needs_a_restart_and_is_not_shown():
    keys = {"k1": KEY, "k2": KEY.replace("MTEx", "MjIy", 1)}
    old, new = (
        PipelineConfig.model_validate({**BEFORE, "encryption": {"use": use, "keys": {k: keys[k] for k in there}}})
        for use, there in (("k1", ["k1"]), ("k2", ["k1", "k2"]))
    )
    assert [str(change) for change in changes.compare(old, new)] == [
        "needs a restart of the run: encryption.use (k1 → k2)",
        "needs a restart of the run: encryption.keys.k2 (a secret, changed)",
    ]
    assert changes.running(old, new).encryption == old.encryption


def test_no_secret_is_ever_told():
    def everything(data):
        gate(data, url="rtsp://you:hunter3@10.0.0.8/s?token=xyz")
        data["source"]["cameras"][1] = {"name": "yard", "url": "http://me:hunter4@h/"}
        data["kafka"]["password"] = "hunter5"

    told = "\n".join(said(everything))
    assert not any(secret in told for secret in ("hunter", "abc", "xyz"))


def test_a_run_takes_over_cameras_limits_and_retention_and_keeps_the_rest():
    old = PipelineConfig.model_validate(BEFORE)
    after = {**copy.deepcopy(BEFORE), "detector": {"scale": 2}, "limits": {"load": 0.5}, "retention": "2h"}
    after["source"]["cameras"].pop()
    runs = changes.running(old, PipelineConfig.model_validate(after))
    assert (len(runs.source.cameras), runs.limits.load, runs.detector.scale) == (1, 0.5, 1.0)
    assert runs.retention.total_seconds() == 7200
    recorded = PipelineConfig.model_validate({"source": {"path": "a.mp4"}})
    assert changes.running(old, recorded).source == old.source


@pytest.mark.parametrize(
    ("change", "status", "told"),
    [("scale: 1", 0, "nothing would change"), ("scale: 2", 3, "detector.scale (1 → 2)"), ("scale: 99", 1, "")],
)
def test_validate_diff_tells_and_answers_by_its_exit_status(tmp_path, change, status, told):
    """(An error's status, 2, comes from `main`, which the runner does not call.)"""
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text("source: {path: a}\n")
    new.write_text("source: {path: a}\ndetector: {" + change + "}\n")
    done = CliRunner().invoke(app, ["validate", str(new), "--diff", str(old)])
    assert done.exit_code == status and told in done.output


def test_validate_diff_takes_the_output_folder_of_a_run(tmp_path):
    (tmp_path / "out" / "state").mkdir(parents=True)
    (tmp_path / "out" / "state" / "running.yaml").write_text("source: {path: a}\n")
    new = tmp_path / "new.yaml"
    new.write_text("source: {path: b}\n")
    done = CliRunner().invoke(app, ["validate", str(new), "--diff", str(tmp_path / "out")])
    assert done.exit_code == 3 and "source.path (a → b)" in done.output
