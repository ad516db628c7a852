"""Topics and patterns: words with dots between them.

In a pattern ``*`` stands for one word, and ``**`` at the end for one or more. Topics that begin
with a dot are the library's own; no pattern of an application matches them.
"""

from dataclasses import dataclass
from typing import Final

TOPIC_LIMIT: Final = 255
"""Bytes of a topic, with the few that the library needs for itself."""

_RESERVED: Final = 8  # bytes that requests put in front


def encode_topic(topic: str) -> bytes:
    """The topic as it travels. Raises `ValueError` for what is no topic."""
    if "*" in topic:
        raise ValueError(f"{topic!r} is a pattern, and no topic to publish to")
    return _encode(topic)


@dataclass(frozen=True, slots=True)
class Pattern:
    """Which topics somebody wants."""

    text: str
    words: tuple[str, ...]
    is_open: bool
    """Whether it ends in ``**``, which is not among the words then."""

    @property
    def is_topic(self) -> bool:
        """Whether it matches one topic alone: itself."""
        return not self.is_open and "*" not in self.words

    def matches(self, words: list[str]) -> bool:
        """Whether it matches the topic of these words."""
        if self.is_open:
            if len(words) <= len(self.words) or (not words[0] and not self.words):
                return False
        elif len(words) != len(self.words):
            return False
        return all(
            mine == theirs or (mine == "*" and theirs != "")
            for mine, theirs in zip(self.words, words, strict=False)
        )


def parse_pattern(text: str) -> Pattern:
    """Raises `ValueError` for what is no pattern."""
    _encode(text)
    return _pattern(text)


def own_pattern(text: str) -> Pattern:
    """A pattern of the library's own: its topics begin with a dot."""
    return _pattern(text)


def _pattern(text: str) -> Pattern:
    words = text.split(".")
    is_open = words[-1] == "**"
    if is_open:
        words.pop()
    if any("*" in word and word != "*" for word in words):
        raise ValueError(
            f"the pattern {text!r}: * stands for one whole word, ** for all the rest, at the end"
        )
    return Pattern(text, tuple(words), is_open)


def _encode(text: str) -> bytes:
    if not text or not all(text.split(".")):
        raise ValueError(f"the topic {text!r} has an empty word; write words with dots between")
    if not text.isprintable():
        raise ValueError(f"the topic {text!r} has characters that cannot be shown")
    encoded = text.encode()
    if len(encoded) > TOPIC_LIMIT - _RESERVED:
        raise ValueError(f"a topic of {len(encoded)} bytes: the limit is {TOPIC_LIMIT - _RESERVED}")
    return encoded
