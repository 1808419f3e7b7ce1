"""What an experiments/*.yaml may say, read into frozen models with errors that name file and line."""

from testbed.experiment.cell import CellSpec, ModelRef
from testbed.experiment.exits import Calibrate, Exit
from testbed.experiment.labels import Unnamed, label, labels
from testbed.experiment.load import load_experiment
from testbed.experiment.scenario import Scenario
from testbed.experiment.spec import Deadlines, Experiment, Nodes

__all__ = [
    "Calibrate",
    "CellSpec",
    "Deadlines",
    "Exit",
    "Experiment",
    "ModelRef",
    "Nodes",
    "Scenario",
    "Unnamed",
    "label",
    "labels",
    "load_experiment",
]
