"""UniRep-64 on CATH chains: neighbours share their superfamily as the data's README says."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import hiddenscape as hs
from hiddenscape.data.arrays import TokenDataset, token_dataset
from hiddenscape.models.batching import token_batch

pytestmark = pytest.mark.real

LABELS = ("class", "superfamily")
# Share of the 5 nearest neighbours with the row's own label, embedding and layers 1 to 4. The
# README's figures belong to bare sequences; with the start symbol in front, as in training, the
# layers do better. The embedding has no context, so it must not notice.
PUBLISHED = {
    "class": (0.565, 0.614, 0.743, 0.690, 0.662),
    "superfamily": (0.100, 0.155, 0.259, 0.233, 0.187),
}
STARTED = {
    "class": (0.565, 0.614, 0.774, 0.749, 0.726),
    "superfamily": (0.100, 0.171, 0.299, 0.290, 0.248),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Steps of a recurrent network are too small for threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def network(real, data):
    layers = {f"layer.{i}": f"layers.{i - 1}" for i in range(1, 5)}
    sites = {"embedding": "embedding", **layers, "logits": "head"}
    return hs.wrap_module(real.unirep(data / "unirep64"), sites, kind="tokens", name="unirep64")


def chains(real, folder, *, start: bool) -> TokenDataset:
    rows = real.cath_chains(folder / "proteins_cath")
    ids = [real.residue_ids(r["sequence"]) for r in rows]
    first = 0 if start else 1
    return token_dataset(
        [i[first:] for i in ids],
        special=[(i == real.START).astype(np.uint8)[first:] for i in ids],
        labels={name: [r[name] for r in rows] for name in LABELS},
        ids=[r["cath_id"] for r in rows],
        name="cath",
    )


@pytest.mark.parametrize(("start", "expected"), [(False, PUBLISHED), (True, STARTED)])
def test_neighbours_share_their_superfamily(real, data, network, tmp_path, start, expected):
    dataset = chains(real, data, start=start)
    assert len(dataset) == 1563
    sites = ["embedding", "layer.*"]
    points = hs.extract(network, dataset, tmp_path, sites=sites, batch_tokens=2**17)
    assert len(points.sites) == 5
    for i, site in enumerate(points.sites):
        graph = hs.find_neighbors(points[site][:], k=5)
        for label in LABELS:
            found = hs.label_overlap(graph, points.labels[label])
            assert found.value == pytest.approx(expected[label][i], abs=1e-3), (site.key, label)
            assert found.chance == pytest.approx({"class": 0.429, "superfamily": 0.020}[label],
                                                 abs=1e-3)  # fmt: skip


def test_a_chain_in_a_batch_is_the_chain_alone(real, network):
    ids = [real.residue_ids(s) for s in ("MKTAYIAKQR", "GAVLIPFMWSTCYNQDEKRH", "MK")]
    special = [(i == real.START).astype(np.uint8) for i in ids]
    requests = [(place, "mean") for place in network.select("embedding, layer.*")]
    together = network.pooled(token_batch(network, ids, special), requests)
    table = network.module.embedding.weight
    for row, (i, flags) in enumerate(zip(ids, special, strict=True)):
        alone = network.pooled(token_batch(network, [i], [flags]), requests)
        for key, value in alone.items():
            torch.testing.assert_close(together[key][row], value[0], rtol=1e-5, atol=1e-6)
        residues = table[torch.from_numpy(i[1:].astype(np.int64))].mean(0)
        torch.testing.assert_close(together["embedding@mean"][row], residues)


def loss(network, ids: list[np.ndarray]) -> float:
    """Nats per residue, the start symbol first."""
    batch = token_batch(network, ids, [np.zeros(len(i), np.uint8) for i in ids])
    logits = network.trace(batch, "logits")["logits"]
    total = count = 0.0
    for i, scores in zip(ids, logits, strict=True):
        # Classes leave out the gap, which is id 0.
        target = torch.from_numpy(i[1:].astype(np.int64)) - 1
        total += float(F.cross_entropy(scores[: len(target)], target, reduction="sum"))
        count += len(target)
    return total / count


def test_the_logits_site_knows_the_order_of_residues(real, data, network, rng):
    rows = real.cath_chains(data / "proteins_cath")[::10]
    ids = [real.residue_ids(r["sequence"]) for r in rows]
    letters = np.bincount(np.concatenate([i[1:] for i in ids]))
    share = letters[letters > 0] / letters.sum()
    found = loss(network, ids)
    assert found < -(share * np.log(share)).sum() - 0.01
    assert found < loss(network, [np.append(i[:1], rng.permutation(i[1:])) for i in ids]) - 0.03
