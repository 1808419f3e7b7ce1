"""An experiment as a campaign: planned, run in order, resumed, and collected into tables and a verdict."""

from testbed.campaign.collect import collect_cell, look
from testbed.campaign.plan import Plan, PlannedCell, make_plan
from testbed.campaign.run import Campaign, Observer

__all__ = ["Campaign", "Observer", "Plan", "PlannedCell", "collect_cell", "look", "make_plan"]
