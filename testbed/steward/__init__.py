"""The testbed's hands on a node that is reached over SSH: files, workers, lease.

Sent as source over the connection before anything is installed, so it needs Python 3.10 and its standard library alone.
"""
