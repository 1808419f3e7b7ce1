"""What a run leaves on disk: its rows, how they are appended, and how they are read back.

`schema`, `documents`, `noderecord`, `mode`, `log` and `exits` run on the nodes too, where there is neither pyarrow nor
pandas; `tables`, `reader` and what reads power run on the workstation. `layout` knows where everything lies.
"""
