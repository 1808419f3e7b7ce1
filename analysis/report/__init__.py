"""`report.html`: one file that says what was measured on what, the numbers, and how sure they are."""

from analysis.report.page import write_report as write_report
