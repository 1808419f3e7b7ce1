"""From `results/` to metrics, figures, tables and a report; it reads `testbed.record` and nothing else.

Import the module that is needed (`analysis.summary`, `analysis.tables`, `analysis.figures`,
`analysis.replay`, `analysis.report`); nothing is imported here, so that `import analysis` costs nothing.
"""
