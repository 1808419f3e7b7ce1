"""What a run leaves on disk: its rows, how they are appended, and how they are read back.

`schema`, `log` and `exits` run on the nodes and import nothing beyond msgspec and numpy;
`tables` and `reader` run on the workstation.
"""
