"""Secrets are found in text however they got there; what is none stays readable."""

import subprocess
import sys

import pytest

PROGRAM = """
from tercio import redaction
redaction.learn(["p4ss", "redis://u:hunter22@h/0", "abc", "a.b*c"])
redaction.learn_environ({environ!r})
print(redaction.redact({text!r}))
"""


def redacted(text: str, environ: dict[str, str] | None = None) -> str:
    """In a process of its own: what one has learnt it never forgets."""
    program = PROGRAM.format(environ=environ or {}, text=text)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.rstrip("\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("with p4ss in it, p4ssp4ss", "with *** in it, ******"),
        ("hunter22 of a URL", "*** of a URL"),
        ("redis://u:hunter22@h/0 stays", "redis://u:***@h/0 stays"),
        ("amqp://guest:unknown%40one@mq/x", "amqp://guest:***@mq/x"),
        ("too short to hide: abc", "too short to hide: abc"),
        ("a.b*c is no pattern: aXbbc", "*** is no pattern: aXbbc"),
        ("https://h:8080/a@b and mail@example.com", "https://h:8080/a@b and mail@example.com"),
        ("http://[::1]:8000/@x", "http://[::1]:8000/@x"),
    ],
)
def test_what_is_known_is_hidden_and_the_rest_is_not(text: str, expected: str) -> None:
    assert redacted(text) == expected


@pytest.mark.parametrize(
    ("name", "value", "is_hidden"),
    [
        ("DB_PASSWORD", "correct horse", True), ("API_TOKEN", "correct horse", True),
        ("DJANGO_SECRET_KEY", "correct horse", True), ("AWS_ACCESS_KEY_ID", "AKIA12345678", True),
        ("STRIPE_API_KEY", "sk_live_1234", True), ("SMTP_PASS", "correct horse", True),
        ("MY_DSN", "https://correct:horsehorse@sentry/1", False),
        ("OLDPWD", "/home/shop/app", False), ("DB_PASSWORD_FILE", "relative/file", False),
        ("SSL_KEY", "/etc/ssl/key.pem", False), ("USE_TOKEN", "yes", False),
        ("EDITOR", "emacs-nox", False),
    ],
)  # fmt: skip
def test_variables_are_judged_by_their_names(name: str, value: str, is_hidden: bool) -> None:
    assert (redacted(f"<{value}>", {name: value}) == "<***>") is is_hidden


def test_a_password_in_any_variable_is_hidden_wherever_it_appears() -> None:
    environ = {"MY_DSN": "https://correct:horse%2Fhorse@sentry/1"}
    assert redacted("horse%2Fhorse or horse/horse", environ) == "*** or ***"
