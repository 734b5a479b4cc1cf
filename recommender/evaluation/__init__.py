"""Measure models offline, by one protocol, on any file of clicks."""

from recommender.evaluation.clicks import Clicks, Spec, parse_spec, read_clicks, read_pairs
from recommender.evaluation.metrics import Metrics, measure
from recommender.evaluation.run import EvaluationOptions, EvaluationReport, run_evaluation, write_report

__all__ = [
    "Clicks",
    "EvaluationOptions",
    "EvaluationReport",
    "Metrics",
    "Spec",
    "measure",
    "parse_spec",
    "read_clicks",
    "read_pairs",
    "run_evaluation",
    "write_report",
]
