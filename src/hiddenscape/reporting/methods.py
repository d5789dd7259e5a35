"""How each figure was computed: formula, reading, source. The parameters come from the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["CITATIONS", "METHODS", "Method"]

CITATIONS: Mapping[str, str] = {
    "twonn": "Facco, d’Errico, Rodriguez, Laio (2017). Estimating the intrinsic dimension of "
    "datasets by a minimal neighborhood information. Scientific Reports 7, 12140. "
    "doi:10.1038/s41598-017-11873-y",
    "gride": "Denti, Doimo, Laio, Mira (2022). The generalized ratios intrinsic dimension "
    "estimator. Scientific Reports 12, 20005. doi:10.1038/s41598-022-20991-1",
    "overlap": "Doimo, Glielmo, Ansuini, Laio (2020). Hierarchical nucleation in deep neural "
    "networks. NeurIPS 33. arXiv:2007.03506",
    "imbalance": "Glielmo, Zeni, Cheng, Csányi, Laio (2022). Ranking the information content of "
    "distance measures. PNAS Nexus 1, pgac039. doi:10.1093/pnasnexus/pgac039",
    "profile": "Ansuini, Laio, Macke, Zoccolan (2019). Intrinsic dimension of data "
    "representations in deep neural networks. NeurIPS 32. arXiv:1905.12784",
    "participation": "Gao, Trautmann, Yu, Santhanam, Ryu, Shenoy, Ganguli (2017). A theory of "
    "multineuronal dimensionality, dynamics and measurement. bioRxiv 214262",
    "mle": "Levina, Bickel (2004). Maximum likelihood estimation of intrinsic dimension. "
    "NeurIPS 17",
    "pak": "Rodriguez, d’Errico, Facco, Laio (2018). Computing the free energy without collective "
    "variables. J. Chem. Theory Comput. 14, 1206. doi:10.1021/acs.jctc.7b00916",
    "adp": "d’Errico, Facco, Laio, Rodriguez (2021). Automatic topography of high-dimensional "
    "data sets by non-parametric density peak clustering. Information Sciences 560, 476. "
    "doi:10.1016/j.ins.2021.01.010",
    "ari": "Hubert, Arabie (1985). Comparing partitions. J. Classification 2, 193. "
    "doi:10.1007/BF01908075",
    "ami": "Vinh, Epps, Bailey (2010). Information theoretic measures for clusterings comparison. "
    "JMLR 11, 2837",
    "geometry": "Valeriani, Doimo, Cuturello, Laio, Ansuini, Cazzaniga (2023). The geometry of "
    "hidden representations of large transformer models. NeurIPS 36. arXiv:2302.00294",
}


@dataclass(frozen=True, slots=True)
class Method:
    """How one figure is computed.

    Attributes
    ----------
    formula, reading : str
    analyses : tuple of str
        Entries of ``analyses`` whose settings belong under the figure.
    citations : tuple of str
        Keys of :data:`CITATIONS`.
    """

    formula: str
    reading: str
    analyses: tuple[str, ...]
    citations: tuple[str, ...]


METHODS: Mapping[str, Method] = {
    "dimension": Method(
        "TwoNN: μ = r₂ / r₁, and log μ is exponential with rate d. Censored maximum likelihood "
        "keeps the m smallest of N ratios: d = (m − 1) / (Σ log μᵢ + (N − m) log μₘ). "
        "Participation ratio: (Σ λ)² / Σ λ² over the eigenvalues λ of the covariance.",
        "The number of directions in which neighbouring rows spread, at the named scale. It is an "
        "estimate at one scale and one number of rows: compare it only at equal N and equal "
        "ranks, and expect it to be too low where it is high. The linear numbers (PCA) count "
        "curvature as dimension.",
        ("two_nn", "two_nn_mle", "two_nn_fit", "gride", "decimation", "pca"),
        ("twonn", "gride", "profile", "participation"),
    ),
    "estimators": Method(
        "Each estimator by its own formula, at its own scale: ranks of neighbours (n1, n2) or k, "
        "and the mean distance they lie at. Global ones (FisherS, spectra) have no scale.",
        "Agreement over scales and models of the data is what makes a dimension credible. Angles "
        "(ESS) and spectra count curvature and noise; estimators from distances are too low in "
        "high dimension. “hiddenscape measure RUN --analyses dimension” adds the others.",
        (
            "two_nn",
            "gride",
            "mle",
            "mom",
            "mada",
            "mind",
            "binomial",
            "abide",
            "agride",
            "tle",
            "ess",
            "correlation",
            "fishers",
            "ph0",
        ),
        ("twonn", "gride", "mle"),
    ),
    "landscape": Method(
        "k*: the first k at which the density of a row and of its neighbour k + 1 differ, "
        "4 k log cosh(d log(r_k(j) / r_k(i)) / 2) above the quantile 1 − α of χ². PAk: the "
        "log density with a linear tilt over k* shells. ADP: peaks of log ρ − error; two clusters "
        "merge where log ρ(peak) − log ρ(saddle) < Z (err + err) for one of them.",
        "Where the number of peaks rises and their agreement with a label does too, the network "
        "has put rows of one kind together. There is no universal Z: look at the other curves. A "
        "k* at its cap is a limit of the search. Densities of different dimension do not compare.",
        ("k_star", "pak_density", "adp", "adp_z_scan", "adp_labels"),
        ("pak", "adp", "ari", "ami"),
    ),
    "topography": Method(
        "Each leaf ends at the log density of a peak, each bar lies at the highest row between two "
        "clusters (their saddle). Clusters join from the highest saddle down.",
        "The deeper the bar under two peaks, the more apart they are; compare with the error at "
        "the peak. A peak is named by the commonest label of its rows, with its share.",
        ("adp",),
        ("adp",),
    ),
    "scales": Method(
        "GRIDE: μ = r(n₂) / r(n₁) has density d (μᵈ − 1)^(n₂−n₁−1) / (μ^(d(n₂−1)+1) B(n₂−n₁, n₁)); "
        "d maximises the likelihood over all rows.",
        "A flat stretch is a dimension one may name. A curve that falls from the left usually "
        "means noise at small distances; one that rises or falls on the right means that "
        "curvature or clusters have come into view.",
        ("gride",),
        ("gride",),
    ),
    "overlap": Method(
        "χₖ(A, B) = (1/N) Σᵢ |Nₖᴬ(i) ∩ Nₖᴮ(i)| / k. Unrelated sites give k / (N − 1).",
        "The share of its k nearest neighbours that a row keeps from one site to the other. "
        "Blocks along the diagonal are phases in which little is rearranged.",
        ("neighborhood_overlap",),
        ("overlap", "geometry"),
    ),
    "next": Method(
        "χₖ(site l, site l + 1), the first off-diagonal of the overlap matrix.",
        "Dips are the places where neighbourhoods are rearranged. Steps are compared fairly only "
        "between sites of the same kind: across a norm or an embedding other rules hold.",
        ("neighborhood_overlap",),
        ("overlap",),
    ),
    "imbalance": Method(
        "Δ(A → B) = (2/N) × the mean over rows of the rank, in B, of the nearest neighbour in A. "
        "Ranks are counted exactly.",
        "Low: being near in A makes rows near in B, so A holds what is needed for B. The two "
        "directions differ, and that is the point. The floor is 2/N, so compare only at equal N; "
        "values up to about 1 + 0.7/√N are what unrelated sites give.",
        ("information_imbalance",),
        ("imbalance",),
    ),
    "labels": Method(
        "χₖ(A, y) = the mean over rows of the share of the k nearest neighbours with the same "
        "label; adjusted = (χ − chance) / (ceiling − chance).",
        "How much of a labelling is already in the neighbourhoods, without training anything. "
        "Chance follows from the class sizes; the ceiling is below 1 where classes hold fewer "
        "than k + 1 rows. Classes with a single row are left out.",
        ("label_overlap", "label_overlap_macro"),
        ("overlap", "geometry"),
    ),
    "map": Method(
        "The first two principal components of each site, centred. Each component is mirrored "
        "where that brings it closer to the site before; nothing is rotated.",
        "A shadow of a space of many dimensions: what is apart here is apart there, what "
        "overlaps here may still be apart. The figures above are computed in the full space. Each "
        "map has its own unit of length: the frame holds 99 % of the rows.",
        (),
        (),
    ),
    "training": Method(
        "The same measurements on the same rows at several training steps.",
        "Whether a feature of the final profile is learned, and when.",
        (),
        (),
    ),
}
