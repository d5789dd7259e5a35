"""Every static figure of a run as PNG and SVG."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hiddenscape.errors import InputError, StoreError
from hiddenscape.plots.estimators import draw_estimators
from hiddenscape.plots.gride_scales import draw_gride_scales
from hiddenscape.plots.id_profile import draw_id_profile
from hiddenscape.plots.label_overlap import draw_label_overlap
from hiddenscape.plots.landscape import draw_landscape
from hiddenscape.plots.matrices import (
    draw_imbalance_matrix,
    draw_overlap_matrix,
    draw_overlap_next,
)
from hiddenscape.plots.pca_maps import draw_pca_maps
from hiddenscape.plots.style import figure, ink
from hiddenscape.plots.topography import draw_topography
from hiddenscape.plots.training import draw_training_dynamics

__all__ = ["FIGURES", "save_figure", "write_figures"]


def save_figure(made: Figure, folder: Path, name: str) -> tuple[Path, Path]:
    """Write ``NAME.png`` and ``NAME.svg``; the same figure gives the same bytes.

    Raises
    ------
    StoreError
        If the files cannot be written.
    """
    png, svg = folder / f"{name}.png", folder / f"{name}.svg"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ink():
            made.savefig(png, metadata={"Software": "hiddenscape"})
            made.savefig(svg, metadata={"Date": None, "Creator": "hiddenscape"})
    except OSError as error:
        raise StoreError(f"cannot write {png}: {error.strerror or error}") from error
    return png, svg


Draw = Callable[[Any, Axes], object]
_ON_AXES: Mapping[str, tuple[Draw, float, float]] = {
    "id_profile": (draw_id_profile, 6.4, 3.6),
    "estimators": (draw_estimators, 8.2, 3.6),
    "gride_scales": (draw_gride_scales, 6.4, 3.6),
    "overlap_matrix": (draw_overlap_matrix, 5.4, 4.6),
    "imbalance_matrix": (draw_imbalance_matrix, 5.4, 4.6),
    "overlap_next": (draw_overlap_next, 6.4, 3.6),
    "label_overlap": (draw_label_overlap, 6.4, 3.6),
    "topography": (draw_topography, 7.0, 4.2),
}
_WHOLE: Mapping[str, Callable[[Any], Figure]] = {
    "landscape": draw_landscape,
    "pca_maps": draw_pca_maps,
    "training_dynamics": draw_training_dynamics,
}
FIGURES = (*_ON_AXES, *_WHOLE)
"""Names of the static figures of a run."""


def write_figures(folder: Path, data: Mapping[str, object]) -> tuple[Path, ...]:
    """Draw figures and write each as PNG and SVG.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    data : mapping
        Name of a figure (:data:`FIGURES`) -> what its ``*_data`` function gave.

    Returns
    -------
    tuple of Path
        The files written.

    Raises
    ------
    InputError
        For an unknown figure.
    StoreError
        If a file cannot be written.
    """
    unknown = sorted(set(data) - set(FIGURES))
    if unknown:
        raise InputError(f"no figure {', '.join(unknown)}; there are: {', '.join(FIGURES)}")
    written: list[Path] = []
    for name in FIGURES:
        if name not in data:
            continue
        with ink():
            made = _draw(name, data[name])
        written += save_figure(made, folder, name)
    return tuple(written)


def _draw(name: str, data: object) -> Figure:
    if name in _WHOLE:
        return _WHOLE[name](data)
    draw, width, height = _ON_AXES[name]
    made = figure(width, height)
    draw(data, made.subplots())
    return made
