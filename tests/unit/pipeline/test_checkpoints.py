"""States of one training: found, ordered, run side by side, resumed anywhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hiddenscape as hs
from hiddenscape.errors import ConfigError, InputError, ManifestMismatch, NetworkError
from hiddenscape.pipeline.checkpoints import find_checkpoints, step_in
from hiddenscape.spec import RunSpec

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

WORDS = 40


def _tokenizer(first: str = "w0") -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers

    names = ["[PAD]", "[UNK]", first, *(f"w{i}" for i in range(1, WORDS - 2))]
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(names)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]"
    )


def _network(folder: Path, seed: int, *, tokenizer: bool = True, layers: int = 2) -> Path:
    torch.manual_seed(seed)
    config = transformers.GPT2Config(
        vocab_size=WORDS, n_embd=16, n_layer=layers, n_head=2, n_positions=32,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    model = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
    model.save_pretrained(folder)
    if tokenizer:
        _tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """``training/checkpoint-20``, ``-100``, ``-1000``, the last with its trainer's state."""
    for step in (20, 100, 1000):
        _network(tmp_path / "training" / f"checkpoint-{step}", step)
    state = tmp_path / "training" / "checkpoint-1000" / "trainer_state.json"
    state.write_text(json.dumps({"global_step": 1001}), encoding="utf-8")
    rows = [" ".join(f"w{(i * k) % 35 + 1}" for k in range(1, 4 + i % 5)) for i in range(40)]
    (tmp_path / "rows.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path / "training"


@pytest.fixture
def spec(training: Path) -> RunSpec:
    return RunSpec(
        checkpoints=[training],
        data=training.parent / "rows.txt",
        sites="resid_post.*",
        analyses=["two_nn"],
        shard_rows=16,
        out=training.parent / "run",
    )


def _files(folder: Path) -> dict[str, bytes]:
    """Everything that may not differ between two ways to the same run."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and re.search(r"(^|/)(acts|results)/|rows\.csv$", name):
            found[name] = path.read_bytes()
    return found


@pytest.mark.parametrize(("name", "step"), [
    ("checkpoint-2000", 2000), ("step1000", 1000), ("step-20k", 20_000), ("step143000", 143_000),
    ("stage1-step140000-tokens294B", 140_000), ("epoch-3", 3), ("epoch3_step20k", 20_000),
    ("seed_0-step_40k", 40_000), ("0400", 400), ("run12", 12), ("main", None),
    ("v1.5-final2", None), ("3f2a9c1d", None), ("iter_5-epoch_7", None), ("step21B", None),
    ("a" * 40, None),
])  # fmt: skip
def test_a_step_is_read_only_where_it_is_beyond_doubt(name: str, step: int | None) -> None:
    assert step_in(name) == step


def test_folders_are_ordered_by_step_which_has_three_sources(training: Path) -> None:
    spec = RunSpec(checkpoints=[training])
    found = find_checkpoints(spec).checkpoints
    assert [(c.name, c.step) for c in found] == [
        ("checkpoint-20", 20), ("checkpoint-100", 100), ("checkpoint-1000", 1001),
    ]  # fmt: skip
    globbed = find_checkpoints(RunSpec(checkpoints=[f"{training}/checkpoint-1*"])).checkpoints
    assert [c.name for c in globbed] == ["checkpoint-100", "checkpoint-1000"]
    given = [f"{training}/checkpoint-20=7000", str(training / "checkpoint-100")]
    found = find_checkpoints(RunSpec(checkpoints=given)).checkpoints
    assert [(c.name, c.step) for c in found] == [("checkpoint-100", 100), ("checkpoint-20", 7000)]
    (training / "checkpoint-100").rename(training / "v1.5-b2")
    names = [c.name for c in find_checkpoints(spec).checkpoints]
    assert names == ["checkpoint-20", "checkpoint-1000", "v1.5-b2"]


def test_what_contradicts_itself_is_refused(training: Path, tmp_path: Path) -> None:
    def refused(message: str, **options: Any) -> None:
        with pytest.raises(ConfigError, match=message):
            find_checkpoints(RunSpec(**options))

    refused("there is no folder", checkpoints=[tmp_path / "absent"])
    refused("holds no checkpoint", checkpoints=[tmp_path / "training" / "checkpoint-20" / "*"])
    refused("take no revision", checkpoints=[training], revision=["a"])
    refused("goes with one network", checkpoints=[training], adapter="x")
    refused("goes with one network", network="org/net", revision=["a", "b"], adapter="x")
    refused("none are given", main_checkpoint="x")
    refused("two or more revisions", drop_cache=True)
    refused("none is given", with_base=True)
    refused("a folder has no revisions", network=str(training), revision=["a", "b"])
    shutil.copytree(training / "checkpoint-20", tmp_path / "other" / "checkpoint-20")
    refused(
        "two checkpoints are called 'checkpoint-20'", checkpoints=[training, tmp_path / "other"]
    )
    refused("stands for 3 folders", checkpoints=[f"{training}=5"])


def test_a_sweep_is_runs_side_by_side(spec: RunSpec, training: Path) -> None:
    told: list[str] = []
    run = hs.run(spec, tell=told.append)
    assert list(run.checkpoints) == ["checkpoint-100", "checkpoint-1000", "checkpoint-20"]
    assert any(line.startswith("checkpoint-20: computes in float32") for line in told)
    for name, part in run.checkpoints.items():
        alone = hs.run(
            spec.replace(checkpoints=[], network=training / name, out=training / "alone" / name),
            until="measure",
        )
        # As if it had been run by itself, number for number.
        assert part.table.values().tolist() == alone.table.values().tolist()
        assert _files(part.path / "acts") == _files(alone.path / "acts")
        assert part.info["checkpoint"]["name"] == name
    steps = {n: r.info["checkpoint"]["step"] for n, r in run.checkpoints.items()}
    assert steps == {"checkpoint-20": 20, "checkpoint-100": 100, "checkpoint-1000": 1001}
    # The last is the run itself.
    last = run.checkpoints["checkpoint-1000"]
    assert run.table.values().tolist() == last.table.values().tolist()
    assert run.info["checkpoint"]["name"] == "checkpoint-1000"
    assert [c["name"] for c in run.info["checkpoints"]] == [
        "checkpoint-20", "checkpoint-100", "checkpoint-1000",
    ]  # fmt: skip
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert "this run (checkpoint-1000)" in page
    assert str(training) not in json.dumps(run.info["checkpoints"])


def test_the_last_network_is_loaded_once_and_what_is_finished_never(
    spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hiddenscape.models import loading

    loads: list[str] = []
    real = loading.trained_module
    monkeypatch.setattr(
        loading,
        "trained_module",
        lambda factory, origin, *rest: loads.append(origin.title) or real(factory, origin, *rest),
    )
    hs.run(spec, until="extract")
    assert sorted(loads) == ["checkpoint-100", "checkpoint-1000", "checkpoint-20"]
    loads.clear()
    hs.run(spec, until="extract")
    assert loads == []
    # Deleting the notes changes nothing but the time it takes.
    before = _files(Path(spec.out))
    for note in Path(spec.out).rglob("extracted.json"):
        note.unlink()
    hs.run(spec, until="extract")
    assert len(loads) == 3
    assert _files(Path(spec.out)) == before


def test_a_checkpoint_that_changed_since_is_refused_by_name(spec: RunSpec, training: Path) -> None:
    hs.run(spec, until="extract")
    _network(training / "checkpoint-100", 5)
    with pytest.raises(ManifestMismatch, match=r"model.commit|weights_hash"):
        hs.run(spec, until="extract")


def test_the_run_itself_can_be_chosen_or_be_another(spec: RunSpec, training: Path) -> None:
    run = hs.run(spec.replace(main_checkpoint="checkpoint-20"), until="extract")
    assert run.info["network"]["id"] == "checkpoint-20"
    with pytest.raises(ConfigError, match=r"no checkpoint 'x'; there are: checkpoint-20"):
        hs.run(spec.replace(main_checkpoint="x"))
    final = _network(training.parent / "final", 9)
    whole = spec.replace(network=final, out=training.parent / "whole", untrained_twin=True)
    run = hs.run(whole, until="extract")
    assert run.info["network"]["id"] == "final"
    assert len(run.checkpoints) == 3
    assert run.null is not None
    assert run.null.representations.manifest.identity["model"]["untrained_seed"] == 0


def test_checkpoints_without_tokenizer_take_that_of_the_network(
    spec: RunSpec, training: Path
) -> None:
    bare = _network(training / "checkpoint-50", 50, tokenizer=False)
    for path in bare.parent.glob("checkpoint-*/token*"):
        path.unlink()
    with pytest.raises((InputError, NetworkError), match="tokenizer"):
        hs.run(spec, until="extract")
    final = _network(training.parent / "final", 9)
    run = hs.run(spec.replace(network=final), until="extract")
    assert len(run.checkpoints) == 4
    other = hs.run(spec.replace(tokenizer=final, out=training.parent / "second"), until="extract")
    one, two = (r.checkpoints["checkpoint-50"].representations for r in (run, other))
    assert one.manifest.manifest_hash == two.manifest.manifest_hash


def test_another_tokenizer_is_refused_by_name(spec: RunSpec, training: Path) -> None:
    _tokenizer("other").save_pretrained(training / "checkpoint-100")
    with pytest.raises(
        NetworkError, match=r"checkpoint 'checkpoint-100': its tokenizer is another"
    ):
        hs.run(spec, until="extract")
    # Also where both were stored in earlier runs.
    hs.run(spec.replace(checkpoints=[training / "checkpoint-20", training / "checkpoint-1000"]),
           until="extract")  # fmt: skip
    alone = spec.replace(checkpoints=[], network=training / "checkpoint-100",
                         out=Path(spec.out) / "checkpoints" / "checkpoint-100")  # fmt: skip
    hs.run(alone, until="extract")
    with pytest.raises(NetworkError, match=r"checkpoint 'checkpoint-100': its tokenizer"):
        hs.run(spec, until="extract")


def test_another_network_is_refused_by_name(spec: RunSpec, training: Path) -> None:
    _network(training / "checkpoint-100", 1, layers=3)
    with pytest.raises(
        NetworkError, match=r"checkpoint 'checkpoint-100': its list of sites differs"
    ):
        hs.run(spec, until="extract")


def test_other_data_is_refused_by_name(spec: RunSpec, training: Path) -> None:
    hs.run(spec, until="extract")
    with pytest.raises(ManifestMismatch, match="dataset"):
        hs.run(spec.replace(limit=20), until="extract")


def test_a_damaged_checkpoint_ends_the_run_or_is_left_out(spec: RunSpec, training: Path) -> None:
    path = training / "checkpoint-100" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(NetworkError, match="checkpoint-100: its safetensors file is damaged"):
        hs.run(spec)
    told: list[str] = []
    run = hs.run(spec.replace(keep_going=True), tell=told.append)
    assert list(run.missing) == ["checkpoint-100"]
    assert any(line.startswith("warning: checkpoint checkpoint-100 is left out") for line in told)
    assert set(run.checkpoints) == {"checkpoint-20", "checkpoint-1000"}
    assert "Checkpoints left out: checkpoint-100" in (run.path / "report.html").read_text("utf-8")
    _network(training / "checkpoint-100", 100)
    run = hs.run(spec.replace(keep_going=True))
    assert run.missing == {}
    assert len(run.checkpoints) == 3


def test_the_plan_lists_every_part_with_the_bytes_of_all(spec: RunSpec) -> None:
    plan = hs.run(spec.replace(untrained_twin=True), dry_run=True)
    folders = ["", "/null", *(f"/checkpoints/checkpoint-{s}" for s in (20, 100, 1000))]
    assert list(plan.parts) == [f"{spec.out}{f}" for f in folders]
    one = plan.parts[spec.out].bytes
    assert plan.bytes == 5 * one
    assert f"total    {5 * one / 2**20:.1f} MiB in 5 runs" in str(plan)
    assert not Path(spec.out).exists()


def test_shares_fill_every_part(spec: RunSpec, training: Path) -> None:
    whole = hs.run(spec.replace(out=training.parent / "whole"), until="extract")
    for share in ("1/2", "0/2"):
        run = hs.run(spec, until="extract", shard=share)
        assert ("end" in run.info) == (share == "0/2")
    assert _files(run.path) == _files(whole.path)
    assert len(list((run.path / "log").glob("run-*.json"))) == 2
    assert hs.run(spec, until="measure").table.values().size
    with pytest.raises(ConfigError, match="shard: shares are of the extraction"):
        hs.run(spec, shard="0/2")


def test_every_process_of_a_machine_gets_its_own_device(
    spec: RunSpec, training: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hiddenscape.pipeline import parts

    asked: list[str] = []

    def load(**how: Any) -> Any:
        asked.append(how["device"])
        raise NetworkError("no such device")

    monkeypatch.setattr(parts, "open_network", load)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(NetworkError, match="no such device"):
        hs.run(spec.replace(device="cuda"), until="extract", shard="0/4")
    with pytest.raises(NetworkError, match="no such device"):
        hs.run(spec.replace(device="cuda"), until="extract")
    assert asked == ["cuda:2", "cuda"]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A cache of the hub's client, and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def refuse(*_: object, **__: object) -> Any:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)

    def add(revision: str, commit: str, folder: Path) -> None:
        repo = tmp_path / "hub" / "models--org--net"
        snapshot = repo / "snapshots" / commit
        snapshot.mkdir(parents=True)
        (repo / "refs").mkdir(exist_ok=True)
        (repo / "blobs").mkdir(exist_ok=True)
        (repo / "refs" / revision).write_text(commit)
        for path in folder.iterdir():
            blob = repo / "blobs" / f"{commit[:4]}-{path.name}"
            shutil.copy(path, blob)
            (snapshot / path.name).symlink_to(os.path.relpath(blob, snapshot))

    return add


def test_revisions_of_the_hub(
    spec: RunSpec, training: Path, hub: Callable[..., None], tmp_path: Path
) -> None:
    for revision, letter in (("step20", "a"), ("step1000", "b")):
        hub(revision, letter * 40, training / f"checkpoint-{revision.removeprefix('step')}")
    sweep = spec.replace(
        checkpoints=[], network="org/net", revision=["step1000", "step100", "step20"]
    )
    with pytest.raises(NetworkError, match=r"org/net: .* gave nothing at revision 'step100'"):
        hs.run(sweep)
    run = hs.run(sweep.replace(keep_going=True), until="measure")
    assert list(run.missing) == ["step100"]
    assert set(run.checkpoints) == {"step20", "step1000"}
    assert run.info["network"]["commit"] == "b" * 40
    assert run.checkpoints["step20"].info["checkpoint"]["commit"] == "a" * 40
    one, two = (
        run.checkpoints["step20"].table,
        hs.run(spec, until="measure", overwrite=True).checkpoints["checkpoint-20"].table,
    )
    assert one.values().tolist() == two.values().tolist()
    with pytest.raises(NetworkError, match=r"none of the .* is there; the first: .* hub gave"):
        hs.run(sweep.replace(revision=["x", "y"], keep_going=True))


def test_what_a_sweep_brought_into_the_cache_is_dropped(
    spec: RunSpec, training: Path, hub: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file "arrives" when its revision is first asked for, as from the hub."""
    import huggingface_hub

    from hiddenscape.models.hub import repo_files

    hub("main", "c" * 40, training / "checkpoint-100")
    before = repo_files("org/net")
    todo = {"step20": ("a" * 40, "checkpoint-20"), "step1000": ("b" * 40, "checkpoint-1000")}
    real = huggingface_hub.hf_hub_download

    def arrive(repo: str, file: str, *, revision: str, **options: Any) -> str:
        if revision in todo:
            commit, name = todo.pop(revision)
            hub(revision, commit, training / name)
        return real(repo, file, revision=revision, **options)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", arrive)
    sweep = spec.replace(
        checkpoints=[], network="org/net", revision=["step20", "step1000"], drop_cache=True
    )
    run = hs.run(sweep, until="measure")
    assert repo_files("org/net") == before
    assert len(run.checkpoints) == 2
    # What was there before it began is not its to delete.
    kept = hs.run(
        sweep.replace(revision=["main", "c" * 40], out=training.parent / "kept"), until="extract"
    )
    assert len(kept.checkpoints) == 2
    assert repo_files("org/net") == before


def test_adapters_over_their_training(spec: RunSpec, training: Path) -> None:
    peft = pytest.importorskip("peft")
    base = training / "checkpoint-1000"
    adapters = training.parent / "adapters"
    for step in (10, 20):
        model = transformers.AutoModelForCausalLM.from_pretrained(base)
        config = peft.LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True)
        wrapped = _wrap(peft, model, config)
        torch.manual_seed(step)
        for name, p in wrapped.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(p, std=0.1 * step)
        wrapped.save_pretrained(adapters / f"checkpoint-{step}")
    sweep = spec.replace(network=base, checkpoints=[adapters], with_base=True)
    run = hs.run(sweep)
    assert set(run.checkpoints) == {"checkpoint-10", "checkpoint-20"}
    assert run.info["adapter"]["id"] == "checkpoint-20"
    assert run.base is not None
    plain = hs.run(
        spec.replace(network=base, checkpoints=[], out=training.parent / "plain"), until="measure"
    )
    # The base from the adapter's load is the base, down to the identity of its store.
    a, b = run.base.representations.manifest, plain.representations.manifest
    assert a.manifest_hash == b.manifest_hash
    assert _files(run.base.path / "acts") == _files(plain.path / "acts")
    assert run.table.values().tolist() != run.base.table.values().tolist()
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert "base, without the adapter" in page
    assert "this run (checkpoint-20)" in page
    with pytest.raises(ConfigError, match="give its base as the network"):
        hs.run(sweep.replace(network=""))


def _wrap(peft: Any, model: Any, config: Any) -> Any:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return peft.get_peft_model(model, config)


def test_a_sweep_that_is_stopped_and_resumed_gives_the_same_files(
    spec: RunSpec, training: Path
) -> None:
    """SIGTERM in the middle of each of its parts; exit code 75; then the same command again."""
    # The name of the directory stands in the tables.
    whole = hs.run(spec.replace(out=training.parent / "whole" / "run"), until="measure")
    expected = _files(whole.path)
    out = Path(spec.out)
    command = [
        sys.executable, "-c", "import sys; from hiddenscape.cli import main; sys.exit(main())",
        "extract", "--checkpoints", str(training),
        "--data", spec.data, "--sites", "resid_post.*", "--shard-rows", "16", "--out", spec.out,
    ]  # fmt: skip
    stopped = 0
    for target in (out / "acts", out / "checkpoints" / "checkpoint-20" / "acts"):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 90
        while process.poll() is None and time.monotonic() < deadline:
            if list(target.glob("rows-*")):
                process.send_signal(signal.SIGTERM)
                break
            time.sleep(0.002)
        _, said = process.communicate(timeout=90)
        assert process.returncode in (0, 75), said
        stopped += process.returncode == 75
    assert stopped
    resumed = hs.run(spec, until="measure")
    found = _files(resumed.path)
    assert set(found) == set(expected)
    assert [n for n in found if found[n] != expected[n]] == []
