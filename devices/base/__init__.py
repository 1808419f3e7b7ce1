"""What every room shares and no room owns: the root of all errors, power as it is recorded, row logs, plug-ins.

Imports the standard library and msgspec alone, so that nothing is too small to use it.
"""
