"""What a change of rules would earn, before anybody sees it: a click model of the past, and both pages side by side."""

from recommender.forecasting.click_counts import ClickCounts, click_counts
from recommender.forecasting.click_model import ClickModel, ClickModelDraws, draws_of, fit_click_model
from recommender.forecasting.forecast import Forecast, StarvedItem, forecast

__all__ = [
    "ClickCounts",
    "ClickModel",
    "ClickModelDraws",
    "Forecast",
    "StarvedItem",
    "click_counts",
    "draws_of",
    "fit_click_model",
    "forecast",
]
