"""PyTorch as a runtime of step graphs. Only what asks for it imports this, since a node need not have torch."""
