"""`streamheal outbox`, as a person or a script calls it."""

import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from streamheal import audit
from streamheal.cli import app
from streamheal.errors import SinkError
from streamheal.publish.outbox import Accounts, Outbox

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC).timestamp()


@pytest.fixture
def file(tmp_path):
    """An outbox with one event delivered, one that waits, and two dead letters: of noon, and of an hour later."""
    now = [NOON]
    box = Outbox(tmp_path / "outbox.sqlite", clock=lambda: now[0])
    for revision in range(4):
        now[0] = NOON + 3600 * max(0, revision - 1)
        box.add(f"run/gate/0/7/{revision}", b"gate", [], b"x" * 100)
    delivered, noon, later, _ = box.pending()
    box.acknowledge([delivered])
    box.bury(noon, "too large: 3 MB")
    box.bury(later, "against the topic's policy")
    box.close()
    return box.path


def call(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["outbox", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.output


def lines(output: str) -> list[dict]:
    return [json.loads(line) for line in output.splitlines()]


def accounts(file) -> dict:
    return json.loads(call("accounts", file, "--json"))


def test_list_shows_age_size_id_and_reason(file):
    told = call("list", file)
    dead = next(line for line in told.splitlines() if "run/gate/0/7/1" in line)
    assert dead.startswith("dead") and "100 B" in dead and "too large: 3 MB" in dead and "d  " in dead
    assert "waiting" in next(line for line in told.splitlines() if "run/gate/0/7/3" in line)
    assert told.splitlines()[-1] == "1 waiting, 2 dead; 3 shown"


def test_list_gives_machines_a_json_object_a_line(file):
    assert lines(call("list", file, "--dead", "--json"))[0] == {
        "state": "dead",
        "id": "run/gate/0/7/1",
        "added_ns": int(NOON) * 1_000_000_000,
        "bytes": 100,
        "reason": "too large: 3 MB",
    }
    assert [line["id"] for line in lines(call("list", file, "--waiting", "--json"))] == ["run/gate/0/7/3"]
    assert len(lines(call("list", file, "--json", "--limit", "1"))) == 2, "one of each kind"


def test_a_pipeline_file_names_the_outbox(file, tmp_path):
    pipeline = tmp_path / "p.yaml"
    pipeline.write_text(
        "source: {path: clip.mp4}\n"
        f"output: {{path: {tmp_path}}}\n"
        "kafka: {bootstrap_servers: ['localhost:9092']}\n"
    )  # fmt: skip
    assert "1 waiting, 2 dead" in call("list", pipeline)


def test_a_pipeline_without_kafka_has_no_outbox(tmp_path):
    pipeline = tmp_path / "p.yaml"
    pipeline.write_text("source: {path: clip.mp4}\n")
    with pytest.raises(SinkError, match=r"p\.yaml has no kafka section"):
        call("list", pipeline)


def test_a_file_that_is_not_there_is_one_clear_error_and_is_not_made(tmp_path):
    with pytest.raises(SinkError, match=r"none\.sqlite can't be opened: there is no such file"):
        call("list", tmp_path / "none.sqlite")
    assert not (tmp_path / "none.sqlite").exists()


def test_resend_lets_one_dead_letter_wait_again_in_its_old_place(file):
    assert "1 dead letters wait again" in call("resend", file, "run/gate/0/7/1")
    assert [line["id"] for line in lines(call("list", file, "--waiting", "--json"))] == [
        "run/gate/0/7/1",
        "run/gate/0/7/3",
    ]


def test_resend_all_leaves_no_dead_letter(file):
    assert "2 dead letters" in call("resend", file, "--all")
    assert accounts(file)["dead"] == 0


def test_an_id_that_is_no_dead_letter_changes_nothing(file):
    with pytest.raises(SinkError, match=r"no dead letter has the id run/gate/0/7/3; .*list --dead"):
        call("resend", file, "run/gate/0/7/1", "run/gate/0/7/3")
    assert accounts(file)["dead"] == 2


@pytest.mark.parametrize("command", [["resend"], ["purge", "--yes"]])
def test_what_is_meant_must_be_said(file, command):
    with pytest.raises(SinkError, match="give their ids, or --all"):
        call(command[0], file, *command[1:])


def test_purge_asks_for_a_yes(file):
    with pytest.raises(SinkError, match="for good; if that is meant, add --yes"):
        call("purge", file, "--all")
    assert accounts(file)["dead"] == 2


@pytest.mark.parametrize(
    ("what", "left"),
    [
        (["--all"], []),
        (["run/gate/0/7/2"], ["run/gate/0/7/1"]),
        (["--before", "2026-01-02T12:30:00"], ["run/gate/0/7/2"]),
    ],
)
def test_purge_deletes_dead_letters_and_counts_them_as_forgotten(file, what, left):
    call("purge", file, *what, "--yes")
    assert [line["id"] for line in lines(call("list", file, "--dead", "--json"))] == left
    told = accounts(file)
    assert (told["forgotten"], told["waiting"], told["balanced"]) == (2 - len(left), 1, True)


def test_accounts_say_where_every_event_is(file):
    box = Outbox(file)
    assert box.accounts() == Accounts(added=4, acknowledged=1, waiting=1, dead=2, shed=0, forgotten=0)
    box.close()
    assert "acknowledged  1" in call("accounts", file)


def test_accounts_that_do_not_add_up_fail(file):
    box = Outbox(file)
    box._file.write(lambda db: db.execute("UPDATE totals SET added = 9"))
    box.close()
    assert "NOT the sum" in call("accounts", file, code=1)


def test_accounts_find_a_damaged_file(file):
    content = bytearray(file.read_bytes())
    content[3 * 4096 : 9 * 4096] = b"\xa5" * (6 * 4096)
    file.write_bytes(content)
    with pytest.raises(SinkError, match=r"is damaged: .*move it away together with its -wal and -shm"):
        call("accounts", file)


def test_what_was_done_to_dead_letters_is_in_the_audit_log_without_their_ids(file):
    call("resend", file, "run/gate/0/7/1")
    call("purge", file, "--all", "--yes")
    sent, purged = audit.read(file.parent / "state" / "audit.jsonl")
    assert (sent["what"], sent["facts"]["ids"]) == ("export", [audit.hash_of("run/gate/0/7/1")])
    assert (purged["what"], purged["facts"]["ids"]) == ("deletion", "all")
