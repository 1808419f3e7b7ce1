"""Figures for a paper: a file for each, one style, and the registry that lists them.

Measured and emulated quantities never share an axis; an emulated one says so on its axis and bears a mark.
"""
