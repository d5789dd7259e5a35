"""Extraction beside a bare forward pass and beside the usual loop, in one run.

    python bench/extract.py [--rows 768] [--layers 12] [--width 512] [--repeats 3] [--out FILE]
                            [--text FILE --tokenizer FOLDER] [--only overhead loop ...]

Needs transformers. Without ``--text`` rows are random ids with log-normal lengths (median 33,
longest 512). Contenders take turns, batch by batch where they share batches, so that a drift of the
machine meets them all; medians are reported with all times. The network is a GPT-2 with random
weights and no language-model head, which would favour us: extraction never computes it.

overhead   all resid_post sites with mean pooling against the bare forward pass, on equal batches
loop       the same, stored, against: output_hidden_states=True, 32 rows in order, padded to the
           longest, mean over the mask, numpy arrays in memory
depth      stopping after half of the blocks against a whole pass
resume     opening a finished run again
memory     resident memory at the end of 10,000 and of 100,000 rows
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "bench" / "results" / "extract.json"
SECTIONS = ("overhead", "loop", "depth", "resume", "memory")
LOOP_ROWS = 32


def make_network(layers: int, width: int) -> Any:
    import torch
    from transformers import GPT2Config, GPT2Model

    from hiddenscape import wrap_module

    torch.manual_seed(0)
    config = GPT2Config(
        n_layer=layers, n_embd=width, n_head=width // 64, n_positions=512, vocab_size=5000
    )
    return wrap_module(GPT2Model(config).eval().requires_grad_(False), name="gpt2-random")


def make_rows(options: argparse.Namespace) -> list[list[int]]:
    if options.text:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(options.tokenizer)
        lines = Path(options.text).read_text(encoding="utf-8").splitlines()
        texts = [line for line in lines if line.strip()][: options.rows]
        return [[i % 5000 for i in tokenizer(t)["input_ids"][:512]] for t in texts]
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(3.5, 0.9, options.rows), 2, 512).astype(int)
    return [rng.integers(0, 5000, n).tolist() for n in lengths]


def overhead(net: Any, rows: list[list[int]], repeats: int) -> dict[str, Any]:
    """Paired, batch by batch: bare pass, then pass with every resid_post pooled."""
    import torch

    from hiddenscape.data.arrays import token_dataset
    from hiddenscape.extraction.inputs import prepare

    ready = prepare(
        net, token_dataset(rows), batch_tokens=4096, batch_size=None, max_length=None,
        overlength="error",
    )  # fmt: skip
    batches = [ready.batch(b) for b in ready.batches(0, len(rows))]
    requests = [(place, "mean") for place in net.select("resid_post.*")]
    bare, ours = [], []
    with torch.inference_mode():
        for turn in range(repeats + 1):
            times = [0.0, 0.0]
            for i, batch in enumerate(batches):
                for which in ((0, 1), (1, 0))[i % 2]:
                    begin = time.perf_counter()
                    if which:
                        for value in net.pooled(batch, requests).values():
                            value.cpu()
                    else:
                        net.module(**batch.kwargs, use_cache=False)
                    times[which] += time.perf_counter() - begin
            if turn:  # the first turn warms up
                bare.append(times[0])
                ours.append(times[1])
    ratios = [b / a for a, b in zip(bare, ours, strict=True)]
    return {"bare": bare, "pooled": ours, "ratio": median(ratios), "ratios": ratios}


def usual_loop(net: Any, rows: list[list[int]]) -> np.ndarray:
    import torch

    out: list[Any] = []
    with torch.inference_mode():
        for at in range(0, len(rows), LOOP_ROWS):
            part = rows[at : at + LOOP_ROWS]
            width = max(map(len, part))
            ids = torch.zeros(len(part), width, dtype=torch.long)
            mask = torch.zeros(len(part), width, dtype=torch.long)
            for i, row in enumerate(part):
                ids[i, : len(row)] = torch.tensor(row)
                mask[i, : len(row)] = 1
            states = net.module(
                input_ids=ids, attention_mask=mask, output_hidden_states=True
            ).hidden_states
            weight = mask[..., None].float()
            pooled = [(s * weight).sum(1) / weight.sum(1) for s in states[1:]]
            out.append(torch.stack(pooled, 1).cpu().numpy())
    return np.concatenate(out)


def loop(net: Any, rows: list[list[int]], repeats: int) -> dict[str, Any]:
    from hiddenscape import extract
    from hiddenscape.data.arrays import token_dataset

    theirs, ours, gap = [], [], 0.0
    plan = None
    for turn in range(repeats):
        for which in (0, 1) if turn % 2 == 0 else (1, 0):
            begin = time.perf_counter()
            if which:
                with tempfile.TemporaryDirectory() as folder:
                    found = extract(
                        net, token_dataset(rows), folder, sites="resid_post.*", pooling="mean"
                    )
                    ours.append(time.perf_counter() - begin)
                    mine = np.asarray(found["resid_post.1"])
            else:
                whole = usual_loop(net, rows)
                theirs.append(time.perf_counter() - begin)
        # Block 1 of both: the last hidden state of the usual loop is after the final norm.
        gap = max(gap, float(np.abs(mine - whole[:, 1]).max() / np.abs(whole[:, 1]).max()))
    with tempfile.TemporaryDirectory() as folder:
        plan = extract(
            net, token_dataset(rows), folder, sites="resid_post.*", pooling="mean", dry_run=True
        )
    padded = sum(
        len(rows[a : a + LOOP_ROWS]) * max(map(len, rows[a : a + LOOP_ROWS]))
        for a in range(0, len(rows), LOOP_ROWS)
    )
    real = sum(map(len, rows))
    ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
    return {
        "usual": theirs,
        "extract": ours,
        "times_faster": median(ratios),
        "ratios": ratios,
        "rows_per_second": len(rows) / median(ours),
        "padding": 1 - plan.tokens / plan.padded_tokens,
        "padding_usual": 1 - real / padded,
        "largest_relative_difference": gap,
    }


def depth(net: Any, rows: list[list[int]], repeats: int) -> dict[str, Any]:
    """Median time to the middle block over the time of the whole depth, paired."""
    from hiddenscape.data.arrays import token_dataset
    from hiddenscape.extraction.inputs import prepare

    ready = prepare(
        net, token_dataset(rows), batch_tokens=4096, batch_size=None, max_length=None,
        overlength="error",
    )  # fmt: skip
    batch = ready.batch(next(iter(ready.batches(0, len(rows)))))
    last = net.map.n_blocks - 1
    half, whole = ([(p, "mean") for p in net.select(f"resid_post.{b}")] for b in (last // 2, last))
    ratios = []
    for _ in range(2 * repeats + 1):
        times = []
        for requests in (half, whole):
            begin = time.perf_counter()
            net.pooled(batch, requests)
            times.append(time.perf_counter() - begin)
        ratios.append(times[0] / times[1])
    share = (last // 2 + 1) / (last + 1)
    return {"ratio": median(ratios[1:]), "share_of_blocks": share, "ratios": ratios[1:]}


def resume(net: Any, rows: list[list[int]]) -> dict[str, Any]:
    from hiddenscape import extract
    from hiddenscape.data.arrays import token_dataset

    data = token_dataset(rows[:128])
    with tempfile.TemporaryDirectory() as folder:
        extract(net, data, folder, sites="resid_post.*")
        begin = time.perf_counter()
        extract(net, data, folder, sites="resid_post.*")
        return {"seconds": time.perf_counter() - begin}


def memory() -> dict[str, Any]:
    """Peak resident memory of two fresh processes."""
    peaks = {}
    for count in (10_000, 100_000):
        command = [sys.executable, __file__, "--worker", str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[str(count)] = json.loads(done.stdout.splitlines()[-1])
    small, large = (peaks[k]["peak_mib"] for k in ("10000", "100000"))
    return {"peaks": peaks, "ratio": large / small}


def worker(count: int) -> None:
    """Extract ``count`` rows of text with a tiny network, and print the peak."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2Model, PreTrainedTokenizerFast

    import hiddenscape as hs

    torch.manual_seed(0)
    backend = Tokenizer(models.WordLevel({f"w{i}": i for i in range(500)}, unk_token="w0"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="w0", pad_token="w0")
    module = GPT2Model(GPT2Config(n_layer=2, n_embd=64, n_head=1, n_positions=64, vocab_size=500))
    net = hs.wrap_module(module, name="tiny", tokenizer=tokenizer)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.txt"
        with path.open("w") as stream:
            for _ in range(count):
                words = rng.integers(0, 500, rng.integers(2, 16))
                stream.write(" ".join(f"w{w}" for w in words) + "\n")
        begin = time.perf_counter()
        found = hs.extract(net, hs.text_dataset(path), Path(folder) / "run", store_text=False)
        seconds = time.perf_counter() - begin
        stored = sum(p.stat().st_size for p in found.path.glob("rows-*"))
    # Not ru_maxrss: a child inherits its parent's.
    status = Path("/proc/self/status").read_text()
    peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024
    print(
        json.dumps(
            {
                "rows": count,
                "peak_mib": round(peak, 1),
                "stored_mib": round(stored / 2**20, 1),
                "seconds": round(seconds, 2),
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=768)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--text")
    parser.add_argument("--tokenizer")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--out", type=Path, default=RECORD)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker)
        return
    import torch
    import transformers

    name = "text" if options.text else "lognormal"
    case = f"{name}, {options.layers} blocks of {options.width}, {options.rows} rows"
    content = json.loads(options.out.read_text()) if options.out.exists() else {}
    content["machine"] = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    net, rows = make_network(options.layers, options.width), make_rows(options)
    work = {
        "overhead": lambda: overhead(net, rows, options.repeats),
        "loop": lambda: loop(net, rows, options.repeats),
        "depth": lambda: depth(net, rows, options.repeats),
        "resume": lambda: resume(net, rows),
        "memory": memory,
    }
    for section in options.only:
        found = work[section]()
        key = "10,000 and 100,000 rows" if section == "memory" else case
        content.setdefault(section, {})[key] = found
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        told = {k: v for k, v in found.items() if not isinstance(v, list | dict)}
        print(f"{section}: {told or found}", flush=True)


if __name__ == "__main__":
    main()
