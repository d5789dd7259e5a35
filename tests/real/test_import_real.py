"""Files of other people: images as points, and checkpoints that are no points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hiddenscape.errors import InputError
from hiddenscape.store.importers import import_points
from hiddenscape.store.verify import verify

pytestmark = pytest.mark.real


def test_images_with_labels_become_a_store(shared: Path, tmp_path: Path) -> None:
    images = shared / "data" / "cifar10" / "test_200_images.npy"
    labels = images.with_name("test_200_labels.npy")
    report = import_points(
        images, tmp_path, labels=labels, flatten=True, dataset="cifar10", shard_rows=64
    )
    store = report.representations
    raw = np.load(images)
    np.testing.assert_array_equal(store["test_200_images"], raw.reshape(len(raw), -1))
    np.testing.assert_array_equal(store.labels["test_200_labels"], np.load(labels))
    assert report.sites[0].duplicate_rows == 0
    assert verify(tmp_path, full=True).ok


def test_a_checkpoint_is_read_without_unpickling_and_refused_as_points(
    shared: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    found = sorted((shared / "data" / "modular_addition").glob("*.pt"))
    found += sorted((shared / "data" / "mlp_mnist").glob("*.pth"))
    assert found
    for path in found:
        with pytest.raises(InputError) as caught:
            import_points(path, tmp_path / "out")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
