from __future__ import annotations

import numpy as np
import pytest

import hiddenscape as hs
from hiddenscape.errors import InputError


def test_the_engine_says_where_it_starts() -> None:
    engine = hs.describe_engine()
    assert engine.rungs[-2:] == ("float32", "float64")
    assert engine.rates["float32"] > 0
    assert engine.threads >= 1
    assert ("bfloat16" in engine.rates) == engine.bfloat16_unit


def test_options_change_no_neighbor(rng: np.random.Generator) -> None:
    x = np.repeat(rng.normal(size=(300, 20)), 2, 0)[rng.permutation(600)]
    want = hs.find_neighbors(x, k=4)
    for options in (
        {"precision": "bfloat16"},
        {"precision": "float32", "block_rows": 19},
        {"memory": "1MB", "block_rows": 16},
    ):
        got = hs.find_neighbors(x, k=4, **options)  # type: ignore[arg-type]
        assert np.array_equal(got.indices, want.indices)
        assert np.array_equal(got.distances, want.distances)
        assert got.certificate is not None
        assert len(got.certificate) == 600
    assert got.distinct is not None
    assert got.distinct.certificate is not None
    assert len(got.distinct.certificate) == 300


def test_copies_share_the_proof_of_their_first_row() -> None:
    x = np.eye(40)[[3, 3, 5, 9, 9, 9, 1]] * 0.3
    graph = hs.find_neighbors(x, k=3)
    assert graph.certificate is not None
    assert graph.certificate.counts() == {"float64": 7}
    flat = hs.find_neighbors(np.ones((5, 2)), k=3)
    assert flat.certificate is not None
    assert flat.certificate.counts() == {"all rows identical": 5}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"precision": "half"}, "no precision 'half'"),
        ({"device": "tpu"}, "device must be"),
        ({"device": "cuda", "metric": "hamming"}, "processor only"),
        ({"memory": "lots"}, "memory must read like"),
        ({"memory": 5}, "at least"),
        ({"memory": float("nan")}, "memory must be"),
        ({"memory": [1]}, "memory must be"),
        ({"block_rows": True}, "block_rows must be a whole number"),
        ({"block_rows": 2.5}, "block_rows must be a whole number"),
        ({"block_rows": 0}, "block_rows must be at least 1"),
        ({"checkpoint": 5}, "checkpoint must be the path"),
        ({"checkpoint": ""}, "checkpoint must be the path"),
        ({"device": "cpu:0"}, "there is one 'cpu'"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        hs.find_neighbors(np.eye(9), k=2, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("block_rows", [0, -3, 2.5, "a"])
def test_ranks_in_blocks_that_make_no_sense(block_rows: object) -> None:
    with pytest.raises(InputError, match="block_rows must be"):
        hs.ranks_of(np.eye(4), [[1], [0], [3], [2]], block_rows=block_rows)  # type: ignore[arg-type]


def test_ranks_do_not_depend_on_how_they_are_counted(rng: np.random.Generator) -> None:
    x = rng.normal(size=(200, 9))
    targets = (np.arange(200)[:, None] + np.arange(1, 4)) % 200
    want = hs.ranks_of(x, targets)
    for options in ({"precision": "bfloat16"}, {"precision": "float32"}, {"memory": "200kB"}):
        assert np.array_equal(hs.ranks_of(x, targets, **options), want)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no precision 'half'"):
        hs.ranks_of(x, targets, precision="half")


def test_a_given_graph_claims_no_proof_of_its_own() -> None:
    lists = np.array([[2, 1], [0, 2], [1, 0]]), np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 1.0]])
    given = hs.NeighborGraph.from_arrays(*lists)
    assert given.indices.tolist() == lists[0].tolist()
    assert given.certificate is None
    claimed = hs.NeighborGraph.from_arrays(*lists, exact=True)
    assert claimed.certificate is not None
    assert claimed.certificate.counts() == {"the caller's word": 3}
