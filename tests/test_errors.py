"""Secrets are taken out of text in one place."""

import pytest

from streamheal.errors import redact, redact_url


@pytest.mark.parametrize(
    "url", ["rtsp://me:hunter2@h/1", "rtsp://me:hun@hunter2@h/1", "rtsp://me:a/hunter2@h:554/1", "http://hunter2@h/1"]
)
def test_no_part_of_a_password_stays(url):
    for text in (redact(url), redact_url(url), redact(f"can't open {url}: refused"), redact(ValueError(url))):
        assert "hunter2" not in text
        assert "***@h" in text


def test_text_without_credentials_stays_as_it_is():
    text = "rtsp://h/1 and mail to a@b.c, 3 // 2"
    assert redact(text) == text


def test_a_camera_s_query_is_left_out():
    assert redact_url("http://h/live?token=hunter2") == "http://h/live?***"
