"""Settings that a profile wants on its node for a run: made through the undo journal, read back, and undone.

Nothing here sets a fan: Jetson's fan service would change it again, and a fan that is stopped by mistake costs a board.
"""
