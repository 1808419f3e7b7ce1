"""What runs on a node: an agent that takes orders on the control plane, and the edge's and the cloud's work."""
