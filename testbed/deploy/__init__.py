"""Putting workers on nodes: `local` starts them as processes of this machine."""
