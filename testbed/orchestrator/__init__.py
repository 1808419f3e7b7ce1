"""The life of one repeat: who takes part, how they are spoken to, and what is done in which order."""

from testbed.orchestrator.attempt import Attempt, NodeStep, Phase
from testbed.orchestrator.control import ControlHub
from testbed.orchestrator.participants import Participant, taking_part
from testbed.orchestrator.repeat import Orchestrator
from testbed.orchestrator.worker import Worker

__all__ = ["Attempt", "ControlHub", "NodeStep", "Orchestrator", "Participant", "Phase", "Worker", "taking_part"]
