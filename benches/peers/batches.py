"""Batches of exact searches on all cores and on a GPU, beside PyTorch on the same GPU. README.md says how to read it."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from retrieval import Case, made, of_version, recall

ROOT = Path(__file__).resolve().parent.parent.parent
ROUNDS = 5
BLOCK = 1024


def aisle(case: Case, k: int, device: str, binary: Path) -> tuple[dict, np.ndarray]:
    """Seconds of all queries on the cores and on the device; the example asserts that both find the same."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        case.items.astype("<f4").tofile(folder / "items.f32")
        case.queries.astype("<f4").tofile(folder / "queries.f32")
        threads = {name: value for name, value in os.environ.items() if name != "RAYON_NUM_THREADS"}
        command = [binary, folder, str(case.items.shape[1]), str(k), device]
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=threads).stdout
        return json.loads(told), np.fromfile(folder / "found.u32", "<u4").reshape(len(case.queries), k).astype(int)


def pytorch(case: Case, k: int, device: str) -> tuple[float, np.ndarray, np.ndarray]:
    """A product in float32 and torch.topk, block by block, the answers back in main memory; and the k-th best score of each query."""
    items = torch.from_numpy(case.items.astype("float32")).to(device).T.contiguous()
    queries = torch.from_numpy(case.queries.astype("float32"))
    fastest = float("inf")
    for _ in range(ROUNDS):
        began = perf_counter()
        found = [torch.topk(block.to(device) @ items, k, dim=1) for block in queries.split(BLOCK)]
        found = [(top.indices.cpu(), top.values[:, -1].cpu()) for top in found]
        fastest = min(fastest, perf_counter() - began)
    rows, kth = zip(*found)
    return fastest, torch.cat(rows).numpy(), torch.cat(kth).numpy()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("cases", nargs="+", help="NAME=FOLDER of a version (als, low-pass), or unit:ITEMS:DEPTH")
    arguments.add_argument("--queries", type=int, default=8192)
    arguments.add_argument("--k", type=int, nargs="+", default=[20, 100])
    arguments.add_argument("--device", default="cuda")
    arguments.add_argument("--binary", type=Path, default=ROOT / "target/release/examples/batches")
    asked = arguments.parse_args()
    gpu = torch.cuda.get_device_name() if asked.device != "cpu" else "no GPU"
    print(f"{gpu}, {len(os.sched_getaffinity(0))} cores; microseconds a query\n")
    print("| case | k | queries | cores | device | PyTorch on the device | cores / device | PyTorch / device | recall of PyTorch |")
    print("|---|---|---|---|---|---|---|---|---|")
    for text in asked.cases:
        case = made(text, asked.queries) if text.startswith("unit:") else of_version(text, asked.queries)
        for k in asked.k:
            theirs, others, kth = pytorch(case, k, asked.device)
            told, found = aisle(case, k, asked.device, asked.binary)
            assert recall(case, found, kth, None) == 1.0, "what is found is exact"
            each = 1e6 / len(case.queries)
            ours = told["device_seconds"]
            print(
                f"| {case.name} | {k} | {len(case.queries):,} | {told['cores_seconds'] * each:.1f} | {ours * each:.1f} | {theirs * each:.1f}"
                f" | {told['cores_seconds'] / ours:.1f} × | {theirs / ours:.1f} × | {recall(case, others, kth, None):.4f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
