"""What an experiments/*.yaml may say, read into frozen models with errors that name file and line."""

from testbed.experiment.exits import Calibrate, Exit
from testbed.experiment.labels import label
from testbed.experiment.load import load_experiment
from testbed.experiment.spec import CellSpec, Deadlines, Experiment, ModelRef, Nodes, Scenario

__all__ = [
    "Calibrate",
    "CellSpec",
    "Deadlines",
    "Exit",
    "Experiment",
    "ModelRef",
    "Nodes",
    "Scenario",
    "label",
    "load_experiment",
]
