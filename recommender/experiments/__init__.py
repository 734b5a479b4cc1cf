"""Experiments: who sees what, and what can be said of it at any moment without fooling oneself."""

from recommender.experiments.assignment import HOLDOUT, assigned_variant, in_holdout
from recommender.experiments.definition import Experiment, ExperimentRefusedError, Variant, check_experiment
from recommender.experiments.interleaving import TeamDraft, credited_team, team_draft
from recommender.experiments.planning import planned_visitors
from recommender.experiments.report import ArmOutcomes, ExperimentReport, Outcomes, Preferences, report
from recommender.experiments.sample_ratio import sample_ratio_p_value
from recommender.experiments.sequential import Arm, Interval, difference

__all__ = [
    "HOLDOUT",
    "Arm",
    "ArmOutcomes",
    "Experiment",
    "ExperimentRefusedError",
    "ExperimentReport",
    "Interval",
    "Outcomes",
    "Preferences",
    "TeamDraft",
    "Variant",
    "assigned_variant",
    "check_experiment",
    "credited_team",
    "difference",
    "in_holdout",
    "planned_visitors",
    "report",
    "sample_ratio_p_value",
    "team_draft",
]
