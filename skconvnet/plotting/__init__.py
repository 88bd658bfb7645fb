"""Plots of fitted estimators, in the style of scikit-learn's displays. They need matplotlib."""

from skconvnet._advice import guide_imports
from skconvnet.plotting.curves import LearningCurveDisplay
from skconvnet.plotting.diagram import NetworkDisplay
from skconvnet.plotting.images import FeatureMapsDisplay, FiltersDisplay
from skconvnet.plotting.predictions import MistakesDisplay, SaliencyDisplay

__all__ = [
    "FeatureMapsDisplay",
    "FiltersDisplay",
    "LearningCurveDisplay",
    "MistakesDisplay",
    "NetworkDisplay",
    "SaliencyDisplay",
]

guide_imports(__name__)
