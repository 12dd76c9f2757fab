"""Sealed faces open with their key, in their place, unchanged, and not otherwise."""

import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamheal import config, pipeline_file
from streamheal.errors import ConfigError, VaultError
from streamheal.vault import Vault, sealed, sealed_under

OLD, NEW = os.urandom(32), os.urandom(32)
ABOUT = "run/gate/0/12/1 original"


def settings(use: str = "k1", **keys: str) -> config.Encryption:
    return config.Encryption(use=use, keys=keys)


def text(key: bytes) -> str:
    return base64.b64encode(key).decode()


def test_what_was_sealed_opens_and_names_its_key():
    vault = Vault("k1", {"k1": OLD})
    data = vault.seal(b"a face", ABOUT)
    assert sealed(data) and sealed_under(data) == "k1" and b"a face" not in data
    assert vault.open(data, ABOUT) == b"a face"


@given(st.binary(max_size=200), st.text(max_size=40))
def test_any_bytes_come_back_as_they_were(data, about):
    vault = Vault("k1", {"k1": OLD})
    assert vault.open(vault.seal(data, about), about) == data


def test_a_single_changed_bit_anywhere_is_noticed():
    vault = Vault("k1", {"k1": OLD})
    data = vault.seal(b"a face", ABOUT)
    for at in range(4, len(data)):  # the first four bytes say that it is sealed at all
        with pytest.raises(VaultError):
            vault.open(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], ABOUT)


def test_a_value_cut_short_anywhere_is_noticed():
    vault = Vault("k1", {"k1": OLD})
    data = vault.seal(b"a face", ABOUT)
    for length in range(4, len(data)):
        with pytest.raises(VaultError):
            vault.open(data[:length], ABOUT)


def test_a_value_moved_to_another_event_or_field_does_not_open():
    vault = Vault("k1", {"k1": OLD})
    data = vault.seal(b"a face", ABOUT)
    for elsewhere in ("run/gate/0/13/1 original", "run/gate/0/12/1 restored"):
        with pytest.raises(VaultError, match="belongs elsewhere"):
            vault.open(data, elsewhere)


def test_a_missing_key_is_named_and_what_is_there_too():
    data = Vault("k1", {"k1": OLD}).seal(b"a face", ABOUT)
    with pytest.raises(VaultError, match=r"sealed under key 'k1'; keys here: k2; add that key"):
        Vault("k2", {"k2": NEW}).open(data, ABOUT)


def test_another_key_of_the_same_name_does_not_open():
    data = Vault("k1", {"k1": OLD}).seal(b"a face", ABOUT)
    with pytest.raises(VaultError, match="doesn't open under key 'k1'"):
        Vault("k1", {"k1": NEW}).open(data, ABOUT)


def test_after_a_change_of_keys_new_values_take_the_new_one_and_old_ones_still_open():
    before = Vault("k1", {"k1": OLD}).seal(b"old face", ABOUT)
    vault = Vault("k2", {"k1": OLD, "k2": NEW})
    assert vault.open(before, ABOUT) == b"old face"
    assert sealed_under(vault.seal(b"new face", ABOUT)) == "k2"


def test_the_same_bytes_are_never_sealed_the_same_way():
    vault = Vault("k1", {"k1": OLD})
    head = len(b"SHV1") + 1 + len("k1")
    nonces = {vault.seal(b"a face", ABOUT)[head : head + 12] for _ in range(20_000)}
    assert len(nonces) == 20_000


def test_without_a_key_bytes_go_through_as_they_are():
    vault = Vault.from_config(None)
    assert vault.key_id is None and vault.seal(b"a face", ABOUT) == b"a face"
    assert vault.open(b"a face", ABOUT) == b"a face"


def test_plain_bytes_from_before_encryption_still_open():
    assert Vault("k1", {"k1": OLD}).open(b"\x89PNG", ABOUT) == b"\x89PNG"


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (text(OLD[:16]), "16 bytes"),
        (text(OLD + OLD), "64 bytes"),
        ("not base64!", "not base64"),
        ("schlüssel", "not"),
        ("", "0 b"),
    ],
)
def test_a_key_that_is_none_is_refused_with_how_to_make_one_and_never_shown(tmp_path, monkeypatch, key, says):
    monkeypatch.setenv("FACES_KEY", key)
    file = tmp_path / "p.yaml"
    file.write_text("source: {rendered: {}}\nencryption:\n  use: k1\n  keys:\n    k1: ${FACES_KEY}\n")
    with pytest.raises(ConfigError, match=says) as refused:
        pipeline_file.load(file)
    assert "p.yaml:5: encryption.keys.k1: " in str(refused.value)
    assert "openssl rand -base64 32" in str(refused.value) and (not key or key not in str(refused.value))


def test_the_key_in_use_must_be_among_the_keys():
    with pytest.raises(ValueError, match="use names the key 'k2'; in keys: k1"):
        settings(use="k2", k1=text(OLD))


def test_keys_come_from_the_environment_and_are_not_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("FACES_KEY", text(OLD))
    file = tmp_path / "p.yaml"
    file.write_text("source: {rendered: {}}\nencryption:\n  use: k1\n  keys:\n    k1: ${FACES_KEY}\n")
    loaded = pipeline_file.load(file)
    assert text(OLD) not in repr(loaded) and text(OLD) not in loaded.model_dump_json()
    vault = Vault.from_config(loaded.encryption)
    assert vault.open(vault.seal(b"a face", ABOUT), ABOUT) == b"a face"


@pytest.mark.parametrize(("text", "seconds"), [("30m", 1800), ("72h", 259_200), ("14d", 1_209_600)])
def test_retention_is_a_number_and_a_unit(tmp_path, text, seconds):
    file = tmp_path / "p.yaml"
    file.write_text(f"source: {{rendered: {{}}}}\nretention: {text}\n")
    assert pipeline_file.load(file).retention.total_seconds() == seconds


@pytest.mark.parametrize("text", ["72", "0h", "-3h", "1.5h", "3 weeks", "true", "[1]"])
def test_a_retention_that_is_none_says_how_to_write_it(tmp_path, text):
    file = tmp_path / "p.yaml"
    file.write_text(f"source: {{rendered: {{}}}}\nretention: {text}\n")
    with pytest.raises(ConfigError, match=r"retention: .* write a whole number and m, h or d: 30m, 72h, 14d"):
        pipeline_file.load(file)


def test_an_error_about_the_keys_shows_none_of_them():
    with pytest.raises(ValueError) as refused:
        config.Encryption.model_validate({"use": "k2", "keys": {"k1": text(OLD)}})
    assert text(OLD) not in str(refused.value)
