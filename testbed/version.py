"""The version of the testbed, and of what it writes and sends."""

VERSION = "0.1.0"
