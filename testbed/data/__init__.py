"""Data sets behind one interface, and the evaluation bundle that is deployed to the edge."""
