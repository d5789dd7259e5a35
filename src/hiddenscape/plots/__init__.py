"""Figures: pure functions that arrange a table (``*_data``), and thin ink that draws them."""

from hiddenscape.plots.estimators import EstimatorsData, draw_estimators, estimators_data
from hiddenscape.plots.gride_scales import GrideScalesData, draw_gride_scales, gride_scales_data
from hiddenscape.plots.id_profile import (
    IdProfileData,
    dimension_series,
    draw_id_profile,
    id_profile_data,
)
from hiddenscape.plots.label_overlap import (
    LabelOverlapData,
    draw_label_overlap,
    label_overlap_data,
    label_series,
)
from hiddenscape.plots.landscape import LandscapeData, draw_landscape, landscape_data
from hiddenscape.plots.matrices import (
    MatrixData,
    NextData,
    draw_imbalance_matrix,
    draw_overlap_matrix,
    draw_overlap_next,
    imbalance_matrix_data,
    overlap_matrix_data,
    overlap_next_data,
)
from hiddenscape.plots.pca_maps import PcaMapsData, draw_pca_maps, pca_maps_data
from hiddenscape.plots.topography import TopographyData, draw_topography, topography_data
from hiddenscape.plots.training import (
    TrainingData,
    draw_training_dynamics,
    training_dynamics_data,
)
from hiddenscape.plots.write import write_figures

__all__ = [
    "EstimatorsData",
    "GrideScalesData",
    "IdProfileData",
    "LabelOverlapData",
    "LandscapeData",
    "MatrixData",
    "NextData",
    "PcaMapsData",
    "TopographyData",
    "TrainingData",
    "dimension_series",
    "draw_estimators",
    "draw_gride_scales",
    "draw_id_profile",
    "draw_imbalance_matrix",
    "draw_label_overlap",
    "draw_landscape",
    "draw_overlap_matrix",
    "draw_overlap_next",
    "draw_pca_maps",
    "draw_topography",
    "draw_training_dynamics",
    "estimators_data",
    "gride_scales_data",
    "id_profile_data",
    "imbalance_matrix_data",
    "label_overlap_data",
    "label_series",
    "landscape_data",
    "overlap_matrix_data",
    "overlap_next_data",
    "pca_maps_data",
    "topography_data",
    "training_dynamics_data",
    "write_figures",
]
