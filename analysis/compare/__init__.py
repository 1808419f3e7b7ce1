"""Two sets of results beside each other: which differences are beyond noise, and what else differs between them.

`match` says which cell is compared with which, `numbers` what of a cell is compared, `verdict` what a difference is
worth, `facts` what else differs. `compare` does all of it.
"""

from analysis.compare.compare import Comparison, Pair, compare
from analysis.compare.facts import FactDifference
from analysis.compare.verdict import Difference, Verdict

__all__ = ["Comparison", "Difference", "FactDifference", "Pair", "Verdict", "compare"]
