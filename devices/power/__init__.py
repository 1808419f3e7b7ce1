"""Power: what a source is, the process that samples it, and its client in the worker."""
