"""What a node can measure, found out on the node itself: `python -m testbed.worker.check`."""
