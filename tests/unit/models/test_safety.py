"""What comes with a checkpoint may not run, connect, or tell a secret."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import socket
import traceback

import pytest
import torch

from hiddenscape.errors import InputError, NetworkError, scrub
from hiddenscape.models import hub
from hiddenscape.models.fresh import weights_hash
from hiddenscape.models.loading import load_network

TOKEN = "hf_" + "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3z"


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


@pytest.fixture
def no_sockets(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_a_folder_touches_no_network(checkpoint, family, no_sockets, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    net = load_network(checkpoint(family), task=None)
    assert net.checks
    assert load_network(checkpoint(family), untrained=True).checks


def test_a_bin_file_is_read_where_it_is_allowed(checkpoint, tmp_path, tiny_model):
    shutil.copy(checkpoint("llama") / "config.json", tmp_path)
    torch.save(tiny_model("llama").state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(NetworkError, match=r"no safetensors weights .* allow_bin"):
        load_network(tmp_path)
    net = load_network(tmp_path, allow_bin=True)
    assert weights_hash(net.module) == weights_hash(load_network(checkpoint("llama")).module)
    assert net.facts["commit"].startswith("files:")
    assert any(".bin file" in line for line in net.facts["remarks"])
    # Where there are safetensors, the pickle is not even looked at.
    shutil.copy(checkpoint("llama") / "model.safetensors", tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"nonsense")
    assert not any(".bin" in r for r in load_network(tmp_path, allow_bin=True).facts["remarks"])


@pytest.mark.parametrize("forced", ["", "1"])
def test_nothing_in_a_malicious_bin_file_runs(checkpoint, tmp_path, monkeypatch, forced):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", forced)
    folder, trace = tmp_path / "evil", tmp_path / "it-ran"
    folder.mkdir()
    shutil.copy(checkpoint("llama") / "config.json", folder)
    torch.save({"model.norm.weight": Evil(str(trace))}, folder / "pytorch_model.bin")
    with pytest.raises(NetworkError, match=r"evil: its .bin file holds more than tensors"):
        load_network(folder, allow_bin=True)
    with (folder / "pytorch_model.bin").open("wb") as stream:
        pickle.dump(Evil(str(trace)), stream)
    with pytest.raises(NetworkError, match=r"evil: "):
        load_network(folder, allow_bin=True)
    assert not trace.exists()
    # The trap itself works: unpickled freely, it would have run.
    pickle.loads(pickle.dumps(Evil(str(trace))))  # noqa: S301
    assert trace.exists()


CODE = """
from pathlib import Path
from transformers import GPT2Config, GPT2LMHeadModel
Path({trace!r}).touch()
class OwnConfig(GPT2Config):
    model_type = "own-gpt2"
class OwnModel(GPT2LMHeadModel):
    config_class = OwnConfig
"""


@pytest.fixture
def with_code(checkpoint, tmp_path, monkeypatch):
    folder, trace = tmp_path / "own", tmp_path / "code-ran"
    shutil.copytree(checkpoint("gpt2"), folder)
    (folder / "own_code.py").write_text(CODE.format(trace=str(trace)))
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "own-gpt2",
        "architectures": ["OwnModel"],
        "auto_map": {
            "AutoConfig": "own_code.OwnConfig",
            "AutoModelForCausalLM": "own_code.OwnModel",
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    from transformers import dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    return folder, trace


def test_code_of_a_checkpoint_runs_only_if_asked_and_is_recorded(with_code, checkpoint):
    folder, trace = with_code
    with pytest.raises(NetworkError, match=r"runs code that comes with it.* trust_remote_code"):
        load_network(folder)
    assert not trace.exists()
    net = load_network(folder, trust_remote_code=True)
    assert trace.exists()
    assert type(net.module).__name__ == "OwnModel"
    recorded = net.facts["remote_code_commit"]
    assert recorded.startswith("code:")
    assert any("runs code of its own" in line and recorded in line for line in net.facts["remarks"])
    (folder / "own_code.py").write_text((folder / "own_code.py").read_text() + "# other\n")
    assert load_network(folder, trust_remote_code=True).facts["remote_code_commit"] != recorded
    plain = load_network(checkpoint("gpt2"), trust_remote_code=True)
    assert plain.facts["remote_code_commit"] is None


@pytest.mark.parametrize("text", [
    f"401 for token {TOKEN}", f"header Authorization: Bearer {TOKEN}", f"bearer secret-{TOKEN}!",
    f"https://user:{TOKEN}@huggingface.co/x", "https://me:hunter2hunter2@host/y",
])  # fmt: skip
def test_tokens_are_scrubbed(text):
    out = scrub(text)
    assert TOKEN not in out
    assert "hunter2" not in out
    assert "***" in out
    assert scrub("hf.3, hf_internal_testing/tiny and a folder hf_x") == (
        "hf.3, hf_internal_testing/tiny and a folder hf_x"
    )


def test_no_token_is_in_an_error_of_the_hub(monkeypatch):
    import huggingface_hub

    secret = "an-odd-token-without-prefix"
    monkeypatch.setenv("HF_TOKEN", secret)

    def answer(*_args, **_kwargs):
        try:
            raise OSError(f"sent {secret}")
        except OSError as error:
            raise OSError(f"403 Forbidden, Authorization: Bearer {TOKEN}, {secret}") from error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", answer)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(NetworkError, match="403 Forbidden") as caught:
        load_network("someone/secret-model")
    shown = "".join(traceback.format_exception(caught.value))
    assert secret not in shown
    assert TOKEN not in shown


@pytest.fixture
def hub_cache(checkpoint, tmp_path, monkeypatch):
    """A cache as the hub's client makes it: two revisions of one repository, sharing blobs."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def add(revision: str, commit: str, folder) -> None:
        repo = tmp_path / "hub" / "models--org--net"
        snapshot = repo / "snapshots" / commit
        snapshot.mkdir(parents=True)
        (repo / "refs").mkdir(exist_ok=True)
        (repo / "blobs").mkdir(exist_ok=True)
        (repo / "refs" / revision).write_text(commit)
        for path in folder.iterdir():
            from hiddenscape.models.origin import files_hash

            blob = repo / "blobs" / files_hash([path])
            shutil.copy(path, blob)
            (snapshot / path.name).symlink_to(os.path.relpath(blob, snapshot))

    return add


def test_a_revision_is_known_by_its_commit(hub_cache, checkpoint, tmp_path, tiny_model, no_sockets):
    later = shutil.copytree(checkpoint("gpt2"), tmp_path / "later")
    tiny_model("gpt2", seed=2).save_pretrained(later)
    hub_cache("step1", "a" * 40, checkpoint("gpt2"))
    hub_cache("main", "b" * 40, later)
    first, last = load_network("org/net", revision="step1"), load_network("org/net")
    assert (first.facts["commit"], last.facts["commit"]) == ("a" * 40, "b" * 40)
    assert first.facts["id"] == "org/net"
    assert weights_hash(first.module) == weights_hash(load_network(checkpoint("gpt2")).module)
    assert weights_hash(last.module) == weights_hash(load_network(later).module)
    assert load_network("org/net", revision="a" * 40).facts["commit"] == "a" * 40
    with pytest.raises(NetworkError, match="the hub gave nothing at revision 'step2'"):
        load_network("org/net", revision="step2")


def test_dropping_a_revision_leaves_what_others_need(hub_cache, checkpoint, tmp_path, tiny_model):
    later = shutil.copytree(checkpoint("gpt2"), tmp_path / "later")
    tiny_model("gpt2", seed=2).save_pretrained(later)
    hub_cache("main", "b" * 40, later)
    before = hub.repo_files("org/net")
    hub_cache("step1", "a" * 40, checkpoint("gpt2"))
    free = hub.drop("org/net", "a" * 40, before)
    assert hub.repo_files("org/net") == before
    assert free == (checkpoint("gpt2") / "model.safetensors").stat().st_size
    assert load_network("org/net").facts["commit"] == "b" * 40
    # A blob that another revision points to stays, though both came later.
    hub_cache("step2", "c" * 40, checkpoint("gpt2"))
    both = hub.repo_files("org/net")
    hub_cache("step3", "d" * 40, checkpoint("gpt2"))
    assert hub.drop("org/net", "d" * 40, before) == 0
    assert hub.repo_files("org/net") == both
    assert load_network("org/net", revision="step2").facts["commit"] == "c" * 40
    hub.drop("org/net", "c" * 40, before)
    # What was there before stays, whatever is dropped.
    assert hub.drop("org/net", "b" * 40, before) == 0
    assert hub.repo_files("org/net") == before


def test_an_adapter_is_no_network(checkpoint, tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match="an adapter, not a network"):
        load_network(tmp_path)
