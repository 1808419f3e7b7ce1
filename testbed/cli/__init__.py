"""The `testbed` command: parses, calls, prints. A group of verbs is a file; `app.py` lists them all."""

from testbed.cli.app import main

__all__ = ["main"]
