"""What goes out names no home folder and no host: the text of results, without what only their lab should know."""

from __future__ import annotations

import re
from pathlib import Path

TEXTS = (".json", ".jsonl", ".csv", ".md", ".tex", ".html", ".svg", ".yaml", ".yml")
"""Endings of files that are text."""

WITHHELD = "withheld"
_HOME = re.compile(r"""(?:/home/|/Users/)[^/\s"'<>&]+|/root(?=[/\s"'<>&]|$)""")
# The documents of a cell stand in its report too, there with escaped quotes.
_NAMED = re.compile(
    r"""(?P<key>(?P<q>"|&\#34;|&quot;)(?:hostname|serial|ssh|address|host)(?P=q)\s*:\s*)(?P=q)(?P<value>.*?)(?P=q)"""
)
_LOOPBACK = re.compile(r"127\.[\d.]+|::1|localhost")


def without_private(text: str) -> str:
    """The text with home folders as `~`, and what is said of hosts, addresses and serial numbers withheld."""
    return _HOME.sub("~", _NAMED.sub(_withhold, text))


def public_copy(source: Path, target: Path) -> Path:
    """Write a text file without what is private."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(without_private(source.read_text(encoding="utf-8")), encoding="utf-8")
    return target


def _withhold(found: re.Match[str]) -> str:
    quote = found["q"]
    value = found["value"] if _LOOPBACK.fullmatch(found["value"]) else WITHHELD
    return f"{found['key']}{quote}{value}{quote}"
