"""Dimension, density and clusters with the manners of scikit-learn: ``fit``, ``dimension_``, ...

Thin: every estimator calls the function of the same name on the public page, with the same
defaults, and keeps its whole answer in ``result_``. Needs scikit-learn:
``pip install "hiddenscape[sklearn]"``.
"""

from hiddenscape.sklearn.clusters import ADP as ADP
from hiddenscape.sklearn.clusters import DensityPeaks as DensityPeaks
from hiddenscape.sklearn.densities import KStarDensity as KStarDensity
from hiddenscape.sklearn.densities import PAkDensity as PAkDensity
from hiddenscape.sklearn.dimensions import ABIDE as ABIDE
from hiddenscape.sklearn.dimensions import GRIDE as GRIDE
from hiddenscape.sklearn.dimensions import MLE as MLE
from hiddenscape.sklearn.dimensions import PCADimension as PCADimension
from hiddenscape.sklearn.dimensions import TwoNN as TwoNN

__all__ = [
    "ABIDE",
    "ADP",
    "GRIDE",
    "MLE",
    "DensityPeaks",
    "KStarDensity",
    "PAkDensity",
    "PCADimension",
    "TwoNN",
]
