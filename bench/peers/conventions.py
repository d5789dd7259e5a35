"""What DADApy and scikit-dimension answer on points with and without copies.

Each in an environment of its own (``pip install dadapy==0.3.4``, ``scikit-dimension==0.5.0``):

    python bench/peers/conventions.py dadapy
    python bench/peers/conventions.py skdim

The numbers printed stand in ``tests/parity/test_conventions.py``.
"""

from __future__ import annotations

import json
import sys
import warnings

import numpy as np


def clouds() -> dict[str, np.ndarray]:
    cube = np.random.default_rng(5).uniform(size=(800, 6))
    return {
        "cube": cube,
        "pairs": np.vstack([cube, cube[:40]]),
        "a triple": np.vstack([cube, cube[:1], cube[:1]]),
    }


def labels() -> np.ndarray:
    found = (clouds()["cube"][:, 0] * 4).astype(int)
    found[0] = 77
    return found


def dadapy() -> dict[str, object]:
    from dadapy import Data
    from dadapy.metric_comparisons import MetricComparisons

    out: dict[str, object] = {}
    for name, x in clouds().items():

        def fresh(x: np.ndarray = x) -> Data:
            made = Data(x, verbose=False, maxk=100)
            made.compute_distances()
            return made

        out[name] = {
            "compute_id_2NN": fresh().compute_id_2NN()[0],
            "compute_id_2NN_ml": fresh().compute_id_2NN(algorithm="ml")[0],
            "compute_id_2NN_wprior": fresh().compute_id_2NN_wprior()[0],
            "return_id_scaling_gride": fresh().return_id_scaling_gride(range_max=64)[0].tolist(),
        }
    cube = clouds()["cube"]
    sites = MetricComparisons(cube, maxk=300)
    out["return_label_overlap"] = [
        sites.return_label_overlap(labels(), k=30),
        sites.return_label_overlap(labels(), k=30, weighted=False),
        sites.return_label_overlap(labels(), class_fraction=0.3),
    ]
    out["return_data_overlap"] = sites.return_data_overlap(coordinates=cube[:, :4], k=30)
    hills = np.concatenate([cube[:, :2], cube[:, 2:4] + [1.5, 0], cube[:, 4:] + [0, 1.5]])
    made = Data(hills, verbose=False, maxk=100)
    made.compute_distances()
    made.compute_id_2NN()
    made.compute_density_PAk()
    made.compute_clustering_ADP(Z=1.65)
    out["compute_clustering_ADP"] = int(made.N_clusters)
    return out


def skdim() -> dict[str, object]:
    import skdim.id as peers

    out: dict[str, object] = {}
    for name, x in clouds().items():
        out[name] = {
            method: float(getattr(peers, method)().fit(x.copy()).dimension_)
            for method in ("TwoNN", "MLE", "MOM", "MADA", "TLE")
        }
    return out


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps({"dadapy": dadapy, "skdim": skdim}[sys.argv[1]](), indent=1))
