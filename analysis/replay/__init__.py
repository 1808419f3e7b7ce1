"""Any exit rule over the recorded timesteps of a cell that ran all T: what it would have done, without hardware.

Accuracy, exits and payload bytes follow exactly from the record (`decide`). Wire bytes, latency and energy are
predicted from it (`predict`). `curve` puts both in one data frame. `check` compares predictions with cells that really
exited.
"""

from analysis.replay.check import CONTROL, Check, PredictionError, checks
from analysis.replay.curve import EXACT, PREDICTED, curve, curves
from analysis.replay.decide import Recorded, Thresholds, recorded_logits, replay

__all__ = [
    "CONTROL",
    "EXACT",
    "PREDICTED",
    "Check",
    "PredictionError",
    "Recorded",
    "Thresholds",
    "checks",
    "curve",
    "curves",
    "recorded_logits",
    "replay",
]
