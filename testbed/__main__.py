"""`python -m testbed`, for launchers such as torchrun that start modules."""

from testbed.cli import main

main()
