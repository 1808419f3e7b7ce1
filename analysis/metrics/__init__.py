"""What is drawn from a cell: a file for each metric, and the registry that lists them."""
