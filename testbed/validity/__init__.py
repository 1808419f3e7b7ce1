"""Whether a measured cell can be believed: gates on what was recorded, and the verdict that asks them all."""

from testbed.validity.verdict import reasons

__all__ = ["reasons"]
