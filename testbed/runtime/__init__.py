"""Execution of exported step graphs: state in, state out."""
