"""hiddenscape: the geometry of hidden representations, layer by layer.

This is the public page. Every name is loaded on first use, so that importing hiddenscape costs
nothing and never loads torch or matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hiddenscape._version import __version__

_HOME = {
    # points -> graph
    "find_neighbors": "neighbors.search",
    "NeighborGraph": "neighbors.graph",
    "METRICS": "neighbors.metrics",
    "Certificate": "kernels.certificate",
    "ranks_of": "neighbors.ranks",
    "neighbor_similarities": "neighbors.similarities",
    "sparse_graph": "neighbors.similarities",
    "Engine": "neighbors.engine",
    "describe_engine": "neighbors.engine",
    "find_duplicates": "neighbors.duplicates",
    "resolve_duplicates": "neighbors.duplicates",
    "Duplicates": "neighbors.duplicates",
    "RowMap": "neighbors.duplicates",
    # graph or points -> dimension
    "Dimension": "dimension.result",
    "DimensionCurve": "dimension.result",
    "two_nn": "dimension.two_nn",
    "gride": "dimension.gride",
    "gride_scan": "dimension.gride",
    "decimation": "dimension.decimation",
    "mle_dimension": "dimension.mle",
    "mle_global": "dimension.mle",
    "mom_dimension": "dimension.moments",
    "mada_dimension": "dimension.moments",
    "mind_dimension": "dimension.mind",
    "tle_dimension": "dimension.tle",
    "binomial_dimension": "dimension.binomial",
    "abide": "dimension.abide",
    "agride": "dimension.abide",
    "CorrelationIntegral": "dimension.correlation",
    "correlation_integral": "dimension.correlation",
    "correlation_dimension": "dimension.correlation",
    "ess_dimension": "dimension.ess",
    "ess_of_patch": "dimension.ess",
    "ph0_dimension": "dimension.spanning_tree",
    "tree_lengths": "dimension.spanning_tree",
    "box_counting": "dimension.boxes",
    "i3d": "dimension.discrete",
    "i3d_scan": "dimension.discrete",
    "binarize": "dimension.binary",
    "binary_dimension": "dimension.binary",
    "autoencoder_dimension": "dimension.autoencoder",
    "expected_dimension": "dimension.extrapolation",
    "finite_size_correction": "dimension.extrapolation",
    "extrapolate": "dimension.extrapolation",
    "fishers_dimension": "dimension.fishers",
    "danco_dimension": "dimension.danco",
    "DimensionMixture": "dimension.mixture",
    "hidalgo": "dimension.hidalgo",
    "local_pca_dimension": "dimension.local_pca",
    "isomap_dimension": "dimension.isomap",
    "DimensionScan": "analyses.scan",
    "dimension_scan": "analyses.scan",
    "spectrum_dimension": "dimension.spectrum",
    "count_components": "dimension.spectrum",
    "pca_dimension": "dimension.pca",
    "participation_ratio": "dimension.pca",
    # graph and dimension -> density
    "KStar": "density.result",
    "LogDensity": "density.result",
    "k_star": "density.kstar",
    "knn_density": "density.knn",
    "kstar_density": "density.kstar_nn",
    "k_peaks": "density.kstar_nn",
    "pak_density": "density.pak",
    "DensityGradients": "density.gradients",
    "density_gradients": "density.gradients",
    "DensityDifferences": "density.differences",
    "density_differences": "density.differences",
    "bmti_density": "density.bmti",
    "interpolate_density": "density.interpolate",
    "Entropy": "density.entropy",
    "density_entropy": "density.entropy",
    # density -> clusters
    "Clusters": "clustering.result",
    "adp": "clustering.adp",
    "DecisionGraph": "clustering.density_peaks",
    "decision_graph": "clustering.density_peaks",
    "density_peaks": "clustering.density_peaks",
    "MergeTree": "clustering.topography",
    "merge_tree": "clustering.topography",
    "Dendrogram": "clustering.dendrogram",
    "dendrogram": "clustering.dendrogram",
    "PeakMap": "clustering.peak_map",
    "peak_map": "clustering.peak_map",
    "saddle_distances": "clustering.peak_map",
    "label_agreement": "clustering.agreement",
    "Stability": "clustering.stability",
    "cluster_stability": "clustering.stability",
    # comparisons
    "Overlap": "comparison.overlap",
    "neighborhood_overlap": "comparison.overlap",
    "label_overlap": "comparison.labels",
    "Imbalance": "comparison.imbalance",
    "information_imbalance": "comparison.imbalance",
    "information_imbalance_matrix": "comparison.imbalance",
    # reading a profile
    "profile_features": "profile",
    "ProfileFeatures": "profile",
    # networks and data
    "load_network": "models.loading",
    "open_network": "pipeline",
    "wrap_module": "models.wrapping",
    "describe_sites": "models.describe",
    "SiteTable": "models.describe",
    "open_dataset": "data.open",
    "array_dataset": "data.arrays",
    "text_dataset": "data.text",
    "token_dataset": "data.arrays",
    "image_dataset": "data.images",
    "fasta_dataset": "data.fasta",
    "hub_dataset": "data.hub",
    "window_dataset": "data.windows",
    "prompt_dataset": "data.prompts",
    "Template": "data.prompts",
    "SequenceRules": "data.sequences",
    "Limits": "data.limits",
    # inside the network
    "AttentionEdit": "interventions.spec",
    "EditedNetwork": "interventions.editing",
    "edited": "interventions.editing",
    "EditedRun": "interventions.run",
    "run_edited": "interventions.run",
    "attention_maps": "interventions.run",
    "Attribution": "interventions.attribution",
    "direct_attribution": "interventions.attribution",
    "LensReading": "interventions.lens",
    "logit_lens": "interventions.lens",
    # the way of the data
    "extract": "extraction",
    "recompute": "extraction",
    "recompute_run": "pipeline",
    "add_sites": "pipeline",
    "import_points": "store.importers",
    "export_points": "store.exporters",
    "to_anndata": "store.exporters",
    "to_xarray": "store.exporters",
    "open_store": "store.reader",
    "RepresentationSet": "store.reader",
    "verify": "store.verify",
    "open_run": "runs",
    "Run": "runs",
    "Pointwise": "pointwise",
    "measure": "measurement",
    "report": "reporting.html",
    "run": "pipeline",
    "demo": "pipeline",
    "RunSpec": "spec",
    "cite": "pipeline",
    # what there is
    "ANALYSES": "analyses",
    "FAMILIES": "models.families",
    # values
    "Site": "types",
    "Estimate": "results",
    "Row": "table",
    "Table": "table",
    "HiddenscapeError": "errors",
}

__all__ = ["__version__", *_HOME]

if TYPE_CHECKING:
    from hiddenscape.analyses import ANALYSES as ANALYSES
    from hiddenscape.analyses.scan import DimensionScan as DimensionScan
    from hiddenscape.analyses.scan import dimension_scan as dimension_scan
    from hiddenscape.clustering.adp import adp as adp
    from hiddenscape.clustering.agreement import label_agreement as label_agreement
    from hiddenscape.clustering.dendrogram import Dendrogram as Dendrogram
    from hiddenscape.clustering.dendrogram import dendrogram as dendrogram
    from hiddenscape.clustering.density_peaks import DecisionGraph as DecisionGraph
    from hiddenscape.clustering.density_peaks import decision_graph as decision_graph
    from hiddenscape.clustering.density_peaks import density_peaks as density_peaks
    from hiddenscape.clustering.peak_map import PeakMap as PeakMap
    from hiddenscape.clustering.peak_map import peak_map as peak_map
    from hiddenscape.clustering.peak_map import saddle_distances as saddle_distances
    from hiddenscape.clustering.result import Clusters as Clusters
    from hiddenscape.clustering.stability import Stability as Stability
    from hiddenscape.clustering.stability import cluster_stability as cluster_stability
    from hiddenscape.clustering.topography import MergeTree as MergeTree
    from hiddenscape.clustering.topography import merge_tree as merge_tree
    from hiddenscape.comparison.imbalance import Imbalance as Imbalance
    from hiddenscape.comparison.imbalance import information_imbalance as information_imbalance
    from hiddenscape.comparison.imbalance import (
        information_imbalance_matrix as information_imbalance_matrix,
    )
    from hiddenscape.comparison.labels import label_overlap as label_overlap
    from hiddenscape.comparison.overlap import Overlap as Overlap
    from hiddenscape.comparison.overlap import neighborhood_overlap as neighborhood_overlap
    from hiddenscape.data.arrays import array_dataset as array_dataset
    from hiddenscape.data.arrays import token_dataset as token_dataset
    from hiddenscape.data.fasta import fasta_dataset as fasta_dataset
    from hiddenscape.data.hub import hub_dataset as hub_dataset
    from hiddenscape.data.images import image_dataset as image_dataset
    from hiddenscape.data.limits import Limits as Limits
    from hiddenscape.data.open import open_dataset as open_dataset
    from hiddenscape.data.prompts import Template as Template
    from hiddenscape.data.prompts import prompt_dataset as prompt_dataset
    from hiddenscape.data.sequences import SequenceRules as SequenceRules
    from hiddenscape.data.text import text_dataset as text_dataset
    from hiddenscape.data.windows import window_dataset as window_dataset
    from hiddenscape.density.bmti import bmti_density as bmti_density
    from hiddenscape.density.differences import DensityDifferences as DensityDifferences
    from hiddenscape.density.differences import density_differences as density_differences
    from hiddenscape.density.entropy import Entropy as Entropy
    from hiddenscape.density.entropy import density_entropy as density_entropy
    from hiddenscape.density.gradients import DensityGradients as DensityGradients
    from hiddenscape.density.gradients import density_gradients as density_gradients
    from hiddenscape.density.interpolate import interpolate_density as interpolate_density
    from hiddenscape.density.knn import knn_density as knn_density
    from hiddenscape.density.kstar import k_star as k_star
    from hiddenscape.density.kstar_nn import k_peaks as k_peaks
    from hiddenscape.density.kstar_nn import kstar_density as kstar_density
    from hiddenscape.density.pak import pak_density as pak_density
    from hiddenscape.density.result import KStar as KStar
    from hiddenscape.density.result import LogDensity as LogDensity
    from hiddenscape.dimension.abide import abide as abide
    from hiddenscape.dimension.abide import agride as agride
    from hiddenscape.dimension.autoencoder import autoencoder_dimension as autoencoder_dimension
    from hiddenscape.dimension.binary import binarize as binarize
    from hiddenscape.dimension.binary import binary_dimension as binary_dimension
    from hiddenscape.dimension.binomial import binomial_dimension as binomial_dimension
    from hiddenscape.dimension.boxes import box_counting as box_counting
    from hiddenscape.dimension.correlation import CorrelationIntegral as CorrelationIntegral
    from hiddenscape.dimension.correlation import correlation_dimension as correlation_dimension
    from hiddenscape.dimension.correlation import correlation_integral as correlation_integral
    from hiddenscape.dimension.danco import danco_dimension as danco_dimension
    from hiddenscape.dimension.decimation import decimation as decimation
    from hiddenscape.dimension.discrete import i3d as i3d
    from hiddenscape.dimension.discrete import i3d_scan as i3d_scan
    from hiddenscape.dimension.ess import ess_dimension as ess_dimension
    from hiddenscape.dimension.ess import ess_of_patch as ess_of_patch
    from hiddenscape.dimension.extrapolation import expected_dimension as expected_dimension
    from hiddenscape.dimension.extrapolation import extrapolate as extrapolate
    from hiddenscape.dimension.extrapolation import (
        finite_size_correction as finite_size_correction,
    )
    from hiddenscape.dimension.fishers import fishers_dimension as fishers_dimension
    from hiddenscape.dimension.gride import gride as gride
    from hiddenscape.dimension.gride import gride_scan as gride_scan
    from hiddenscape.dimension.hidalgo import hidalgo as hidalgo
    from hiddenscape.dimension.isomap import isomap_dimension as isomap_dimension
    from hiddenscape.dimension.local_pca import local_pca_dimension as local_pca_dimension
    from hiddenscape.dimension.mind import mind_dimension as mind_dimension
    from hiddenscape.dimension.mixture import DimensionMixture as DimensionMixture
    from hiddenscape.dimension.mle import mle_dimension as mle_dimension
    from hiddenscape.dimension.mle import mle_global as mle_global
    from hiddenscape.dimension.moments import mada_dimension as mada_dimension
    from hiddenscape.dimension.moments import mom_dimension as mom_dimension
    from hiddenscape.dimension.pca import participation_ratio as participation_ratio
    from hiddenscape.dimension.pca import pca_dimension as pca_dimension
    from hiddenscape.dimension.result import Dimension as Dimension
    from hiddenscape.dimension.result import DimensionCurve as DimensionCurve
    from hiddenscape.dimension.spanning_tree import ph0_dimension as ph0_dimension
    from hiddenscape.dimension.spanning_tree import tree_lengths as tree_lengths
    from hiddenscape.dimension.spectrum import count_components as count_components
    from hiddenscape.dimension.spectrum import spectrum_dimension as spectrum_dimension
    from hiddenscape.dimension.tle import tle_dimension as tle_dimension
    from hiddenscape.dimension.two_nn import two_nn as two_nn
    from hiddenscape.errors import HiddenscapeError as HiddenscapeError
    from hiddenscape.extraction import extract as extract
    from hiddenscape.extraction import recompute as recompute
    from hiddenscape.interventions.attribution import Attribution as Attribution
    from hiddenscape.interventions.attribution import direct_attribution as direct_attribution
    from hiddenscape.interventions.editing import EditedNetwork as EditedNetwork
    from hiddenscape.interventions.editing import edited as edited
    from hiddenscape.interventions.lens import LensReading as LensReading
    from hiddenscape.interventions.lens import logit_lens as logit_lens
    from hiddenscape.interventions.run import EditedRun as EditedRun
    from hiddenscape.interventions.run import attention_maps as attention_maps
    from hiddenscape.interventions.run import run_edited as run_edited
    from hiddenscape.interventions.spec import AttentionEdit as AttentionEdit
    from hiddenscape.kernels.certificate import Certificate as Certificate
    from hiddenscape.measurement import measure as measure
    from hiddenscape.models.describe import SiteTable as SiteTable
    from hiddenscape.models.describe import describe_sites as describe_sites
    from hiddenscape.models.families import FAMILIES as FAMILIES
    from hiddenscape.models.loading import load_network as load_network
    from hiddenscape.models.wrapping import wrap_module as wrap_module
    from hiddenscape.neighbors.duplicates import Duplicates as Duplicates
    from hiddenscape.neighbors.duplicates import RowMap as RowMap
    from hiddenscape.neighbors.duplicates import find_duplicates as find_duplicates
    from hiddenscape.neighbors.duplicates import resolve_duplicates as resolve_duplicates
    from hiddenscape.neighbors.engine import Engine as Engine
    from hiddenscape.neighbors.engine import describe_engine as describe_engine
    from hiddenscape.neighbors.graph import NeighborGraph as NeighborGraph
    from hiddenscape.neighbors.metrics import METRICS as METRICS
    from hiddenscape.neighbors.ranks import ranks_of as ranks_of
    from hiddenscape.neighbors.search import find_neighbors as find_neighbors
    from hiddenscape.neighbors.similarities import neighbor_similarities as neighbor_similarities
    from hiddenscape.neighbors.similarities import sparse_graph as sparse_graph
    from hiddenscape.pipeline import add_sites as add_sites
    from hiddenscape.pipeline import cite as cite
    from hiddenscape.pipeline import demo as demo
    from hiddenscape.pipeline import open_network as open_network
    from hiddenscape.pipeline import recompute_run as recompute_run
    from hiddenscape.pipeline import run as run
    from hiddenscape.pointwise import Pointwise as Pointwise
    from hiddenscape.profile import ProfileFeatures as ProfileFeatures
    from hiddenscape.profile import profile_features as profile_features
    from hiddenscape.reporting.html import report as report
    from hiddenscape.results import Estimate as Estimate
    from hiddenscape.runs import Run as Run
    from hiddenscape.runs import open_run as open_run
    from hiddenscape.spec import RunSpec as RunSpec
    from hiddenscape.store.exporters import export_points as export_points
    from hiddenscape.store.exporters import to_anndata as to_anndata
    from hiddenscape.store.exporters import to_xarray as to_xarray
    from hiddenscape.store.importers import import_points as import_points
    from hiddenscape.store.reader import RepresentationSet as RepresentationSet
    from hiddenscape.store.reader import open_store as open_store
    from hiddenscape.store.verify import verify as verify
    from hiddenscape.table import Row as Row
    from hiddenscape.table import Table as Table
    from hiddenscape.types import Site as Site


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'hiddenscape' has no attribute {name!r}")
    value = getattr(import_module(f"hiddenscape.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
