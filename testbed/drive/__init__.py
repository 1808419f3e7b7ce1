"""`testbed link`: a link driven over loopback, what was asked beside what was delivered."""
