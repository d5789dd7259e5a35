"""Data sets of the ``datasets`` package, Parquet and Arrow files; nothing here needs a network."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest

from hiddenscape.data.hub import HubName, hub_dataset
from hiddenscape.data.limits import Limits
from hiddenscape.data.open import data_kind, open_dataset
from hiddenscape.errors import ConfigError, InputError, MissingDependency

datasets = pytest.importorskip("datasets")
pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
Image = pytest.importorskip("PIL.Image")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def quiet():
    datasets.disable_progress_bars()


def table():
    features = datasets.Features(
        text=datasets.Value("string"),
        label=datasets.ClassLabel(names=["neg", "pos"]),
        score=datasets.Value("float32"),
        stars=datasets.Value("int64"),
        flag=datasets.Value("bool"),
    )
    return datasets.Dataset.from_dict(
        {"text": ["good", "bad", "?"], "label": [1, 0, -1], "score": [0.5, None, 2.0],
         "stars": [5, 1, None], "flag": [True, False, True]},
        features=features,
    )  # fmt: skip


def check(data) -> None:
    assert (data.kind, data.texts) == ("text", ("good", "bad", "?"))
    assert data.labels["label"].tolist() == ["pos", "neg", ""]
    assert data.labels["flag"].tolist() == [True, False, True]
    np.testing.assert_equal(data.labels["score"], [0.5, np.nan, 2.0])
    np.testing.assert_equal(data.labels["stars"], [5.0, 1.0, np.nan])


def pictures() -> tuple[list[np.ndarray], list[bytes]]:
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (5, 4, 3), dtype=np.uint8) for _ in range(3)]
    raw = []
    for p in pixels:
        out = io.BytesIO()
        Image.fromarray(p).save(out, format="PNG")
        raw.append(out.getvalue())
    return pixels, raw


@pytest.mark.parametrize("how", ["saved", "parquet", "arrow", "feather"])
def test_texts_and_labels(tmp_path, how):
    path = tmp_path / {"saved": "s", "parquet": "a.parquet", "arrow": "a.arrow"}.get(
        how, "a.feather"
    )
    if how == "saved":
        table().save_to_disk(str(path))
    elif how == "parquet":
        table().to_parquet(str(path))
    else:
        whole = table().with_format("arrow")[:]
        new = pa.ipc.new_stream if how == "arrow" else pa.ipc.new_file
        with pa.OSFile(str(path), "wb") as sink, new(sink, whole.schema) as writer:
            writer.write_table(whole)
    data = open_dataset(path)
    check(data)
    assert open_dataset(path, limit=2, label_columns=["label"]).labels["label"].tolist() == [
        "pos", "neg",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="no column 'body'; it has text, label, score, stars"):
        open_dataset(path, text="body")
    with pytest.raises(InputError, match="3 rows; the limit is 2"):
        open_dataset(path, limits=Limits(rows=2))
    with pytest.raises(InputError, match=r"bytes.*; the limit is 20"):
        open_dataset(path, limits=Limits(bytes=20))


def test_the_same_rows_have_the_same_fingerprint_everywhere(tmp_path):
    table().save_to_disk(str(tmp_path / "s"))
    table().to_parquet(str(tmp_path / "a.parquet"))
    saved, file = open_dataset(tmp_path / "s"), open_dataset(tmp_path / "a.parquet")
    assert saved.fingerprint == file.fingerprint
    assert saved.origin["datasets_fingerprint"]
    turned = table().select([1, 0, 2])
    turned.save_to_disk(str(tmp_path / "t"))
    found = open_dataset(tmp_path / "t")
    assert found.texts == ("bad", "good", "?")
    assert found.fingerprint != saved.fingerprint


def test_splits_of_a_folder_are_named(tmp_path):
    both = datasets.DatasetDict(train=table(), test=table().select([0]))
    both.save_to_disk(str(tmp_path / "d"))
    with pytest.raises(ConfigError, match=r"several splits; name one of them: .*d/test, .*d/train"):
        open_dataset(tmp_path / "d")
    check(open_dataset(tmp_path / "d" / "train"))


@pytest.mark.parametrize("how", ["saved", "parquet"])
def test_images_inside_a_table(tmp_path, how):
    pixels, raw = pictures()
    features = datasets.Features(
        picture=datasets.Image(), label=datasets.ClassLabel(names=["a", "b"])
    )
    whole = datasets.Dataset.from_dict(
        {"picture": [{"bytes": r, "path": None} for r in raw], "label": [0, 1, 1]},
        features=features,
    )
    path = tmp_path / ("s" if how == "saved" else "a.parquet")
    whole.save_to_disk(str(path)) if how == "saved" else whole.to_parquet(str(path))
    data = open_dataset(path)
    assert data.kind == "images"
    assert data.labels["label"].tolist() == ["a", "b", "b"]
    np.testing.assert_array_equal(data.take([2])[0], pixels[2])
    assert open_dataset(path, size=(2, 2), limit=2).take([1]).shape == (1, 3, 2, 2)
    assert open_dataset(path, input="picture").fingerprint == data.fingerprint


def test_images_at_other_paths_are_not_opened(tmp_path):
    secret = tmp_path / "secret.png"
    Image.fromarray(pictures()[0][0]).save(secret)
    for place in (str(secret), "http://127.0.0.1:9/a.png"):
        whole = datasets.Dataset.from_dict(
            {"image": [{"bytes": None, "path": place}]},
            features=datasets.Features(image=datasets.Image()),
        )
        folder = tmp_path / f"s{len(place)}"
        # Built by hand: save_to_disk would embed the file.
        table_ = whole.with_format("arrow")[:]
        parquet.write_table(table_, tmp_path / "a.parquet")
        with pytest.raises(InputError, match="row 0: the image is not in the file but at"):
            open_dataset(tmp_path / "a.parquet")
        whole = datasets.Dataset(pa.Table.from_batches(table_.to_batches(), table_.schema))
        folder.mkdir()
        for name, body in _saved_by_hand(table_).items():
            (folder / name).write_bytes(body)
        with pytest.raises(InputError, match="lies outside of its data set and is not opened"):
            open_dataset(folder)


def _saved_by_hand(whole) -> dict[str, bytes]:
    import json

    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, whole.schema) as writer:
        writer.write_table(whole)
    state = {"_data_files": [{"filename": "d.arrow"}], "_fingerprint": "f", "_format_type": None,
             "_format_columns": None, "_format_kwargs": {}, "_output_all_columns": False,
             "_split": None}  # fmt: skip
    info = {"features": {"image": {"_type": "Image"}}}
    return {
        "d.arrow": sink.getvalue(),
        "state.json": json.dumps(state).encode(),
        "dataset_info.json": json.dumps(info).encode(),
    }


def test_columns_that_are_no_labels_are_named(tmp_path):
    import datetime

    whole = pa.table({"text": ["a"], "tokens": [[1, 2]], "when": [datetime.date(2020, 1, 1)]})
    parquet.write_table(whole, tmp_path / "a.parquet")
    with pytest.raises(
        InputError, match="row 0, field 'tokens': a label must be one value, got a li"
    ):
        open_dataset(tmp_path / "a.parquet")
    with pytest.raises(
        InputError, match="field 'when': a label must be one value, got a date; wri"
    ):
        open_dataset(tmp_path / "a.parquet", label_columns=["when"])
    assert open_dataset(tmp_path / "a.parquet", label_columns=["when:text"]).labels[
        "when"
    ].tolist() == ["2020-01-01"]
    with pytest.raises(ConfigError, match="size is for images, these are texts"):
        open_dataset(tmp_path / "a.parquet", label_columns=[], size=(2, 2))


def test_a_parquet_file_that_unpacks_to_much_is_stopped(tmp_path):
    big = pa.table({"text": pa.array(["x" * 10_000] * 20_000)})
    parquet.write_table(big, tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 100_000
    with pytest.raises(InputError, match=r"more than [\d,]+ bytes, at row \d+; the limit is 30"):
        open_dataset(tmp_path / "a.parquet", limits=Limits(bytes=30_000_000))


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.feather"])
def test_damaged_files(tmp_path, name):
    (tmp_path / name).write_bytes(b"PAR1 nonsense PAR1")
    with pytest.raises(InputError, match=rf"{name}: cannot be read"):
        open_dataset(tmp_path / name)


def test_damaged_folders(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "state.json").write_text("{}")
    with pytest.raises(InputError, match="not a readable data set"):
        open_dataset(tmp_path / "s")


# --- the hub ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("hf:imdb", ("imdb", None, None, None)),
        ("hf:a/b:train", ("a/b", None, None, "train")),
        ("hf:a/b@v1.0:c-d:test[10:20]", ("a/b", "v1.0", "c-d", "test[10:20]")),
        ("hf:a/b:cfg:", ("a/b", None, "cfg", None)),
    ],
)
def test_names_of_the_hub(source, parts):
    assert data_kind(source) == "hub"
    assert HubName.parse(source) == HubName(*parts)


@pytest.mark.parametrize("source", ["hf:", "hf:a/b/c", "hf:../x", "hf:a@", "hf:a:b:c:d", "hf:a b"])
def test_what_is_no_name(source):
    with pytest.raises(
        ConfigError, match="expected hf:NAME, hf:NAME:SPLIT or hf:NAME:CONFIG:SPLIT"
    ):
        hub_dataset(source)


class _Hub:
    """Stands in for the hub: remembers what was asked."""

    def __init__(self, answer: object) -> None:
        self.answer, self.asked = answer, {}

    def load_dataset(self, name: str, config: str | None, **more: object) -> object:
        self.asked = {"name": name, "config": config, **more}
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def hub(monkeypatch):
    import huggingface_hub

    class Info:
        sha = "c0ffee"

    def plug(answer: object, sha: object = Info) -> _Hub:
        found = _Hub(answer)
        monkeypatch.setattr(datasets, "load_dataset", found.load_dataset)

        def info(self: object, name: str, revision: str | None = None) -> object:
            if isinstance(sha, Exception):
                raise sha
            return sha

        monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", info)
        return found

    return plug


def test_the_commit_is_pinned_and_kept(hub):
    asked = hub(table())
    data = open_dataset("hf:a/b@main:cfg:train", label_map=None)
    check(data)
    assert asked.asked == {"name": "a/b", "config": "cfg", "split": "train", "revision": "c0ffee"}
    assert "trust_remote_code" not in asked.asked
    assert {k: data.origin[k] for k in ("hub", "config", "split", "revision", "commit")} == {
        "hub": "a/b", "config": "cfg", "split": "train", "revision": "main", "commit": "c0ffee",
    }  # fmt: skip
    assert data.name == "a/b"


def test_without_the_network_the_commit_is_unknown(hub):
    asked = hub(table(), sha=ConnectionError("offline"))
    assert open_dataset("hf:a/b@v2:train").origin["commit"] is None
    assert asked.asked["revision"] == "v2"


def test_the_only_split_is_taken_and_several_are_named(hub):
    hub(datasets.DatasetDict(only=table()))
    assert open_dataset("hf:a/b").origin["split"] == "only"
    hub(datasets.DatasetDict(train=table(), test=table()))
    with pytest.raises(ConfigError, match="name a split: train, test"):
        open_dataset("hf:a/b")


def test_failures_of_the_hub_are_told(hub):
    hub(ValueError("Unknown split"))
    with pytest.raises(InputError, match=r"hf:a/b: cannot be loaded .Unknown split."):
        open_dataset("hf:a/b:tran")


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingDependency, match=r"hiddenscape\[datasets\]"):
        open_dataset("hf:a/b")
    (tmp_path / "a.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependency, match=r"hiddenscape\[formats\]"):
        open_dataset(tmp_path / "a.parquet")


def test_the_path_of_a_folder_is_no_part_of_the_record(tmp_path):
    table().save_to_disk(str(tmp_path / "s"))
    assert str(tmp_path) not in repr(dict(open_dataset(Path(tmp_path / "s")).origin))
