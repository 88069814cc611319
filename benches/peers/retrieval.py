"""Exact retrieval beside the approximate indexes, one query at a time, one thread. README.md says how to read it."""

from __future__ import annotations

import argparse
import json
import os
import platform
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from time import perf_counter

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402  (one thread, said before it starts)
import pyarrow.parquet as pq  # noqa: E402

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
ROUNDS = 3
WANTED = (0.95, 0.99)
# From so many vectors of unit length on a version may have lists.
LARGE = 500_000
PASS = (0.5, 0.1, 0.01, 0.001)
Answers = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Case:
    name: str
    items: np.ndarray
    queries: np.ndarray
    categories: np.ndarray | None = None
    sample: np.ndarray | None = None


@dataclass(frozen=True)
class Row:
    contender: str
    settings: str
    recall: float
    p50: float
    p99: float
    build: float | None = None


def tensors(version: Path) -> dict[str, np.ndarray]:
    """The arrays of a published version."""
    data = (version / "weights.safetensors").read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    kinds = {"F32": np.float32, "U32": np.uint32, "U64": np.uint64}
    arrays = {}
    for name, entry in json.loads(data[8 : 8 + size]).items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            arrays[name] = np.frombuffer(data[8 + size + first : 8 + size + last], kinds[entry["dtype"]]).reshape(entry["shape"])
    return arrays


def of_version(text: str, queries: int) -> Case:
    """NAME=FOLDER: the item vectors that somebody touched, and the vectors of shoppers drawn at random."""
    name, _, folder = text.partition("=")
    arrays = tensors(Path(folder))
    if "als.item_factors" in arrays:
        items, users = arrays["als.item_factors"], arrays["als.user_factors"]
    else:
        items = arrays["low_pass.item_vectors"]
        offsets, past = arrays["history.offsets"].astype(int), arrays["history.items"]
        share = items / np.maximum(arrays["item.users"], 1)[:, None]
        users = np.stack([share[past[a:b]].sum(axis=0) for a, b in zip(offsets[:-1], offsets[1:])])
    touched = (items != 0).any(axis=1)
    table = pq.read_table(Path(folder) / "items.parquet")
    categories = np.array(table["category"].to_pylist(), dtype=object)[touched] if "category" in table.column_names else None
    users = users[(users != 0).any(axis=1)]
    drawn = np.random.default_rng(1).permutation(len(users))[:queries]
    return Case(name, np.ascontiguousarray(items[touched]), np.ascontiguousarray(users[drawn]), categories)


def made(kind: str, queries: int) -> Case:
    """unit:ITEMS:DEPTH: vectors of length one in clusters, where lengths tell nothing."""
    _, count, depth = kind.split(":")
    random = np.random.default_rng(2)
    centres = random.standard_normal((200, int(depth)))
    draw = lambda rows: centres[random.integers(0, 200, rows)] + 0.8 * random.standard_normal((rows, int(depth)))
    vectors = [draw(rows).astype(np.float32) for rows in (int(count), queries, 1000)]
    items, asked, sample = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in vectors)
    return Case(f"unit length, {int(count):,} × {depth}", items, asked, sample=sample)


def truth(case: Case, k: int, allowed: np.ndarray | None) -> np.ndarray:
    """The k-th best score of each query."""
    kth = np.empty(len(case.queries), dtype=np.float32)
    for start in range(0, len(kth), 256):
        scores = case.queries[start : start + 256] @ case.items.T
        if allowed is not None:
            scores[:, ~allowed] = -np.inf
        kth[start : start + 256] = -np.partition(-scores, k - 1, axis=1)[:, k - 1]
    return kth


def recall(case: Case, found: np.ndarray, kth: np.ndarray, allowed: np.ndarray | None) -> float:
    """The share of answers at least as good as the k-th best. Sums in another order may differ in the last digits."""
    good = 0
    for query, rows, least in zip(case.queries, found, kth):
        rows = np.unique(rows[(rows >= 0) & (rows < len(case.items))])
        if allowed is not None:
            assert allowed[rows].all(), "an item outside the filter"
        slack = 1e-5 * np.linalg.norm(query) * np.linalg.norm(case.items[rows], axis=1)
        good += int((case.items[rows] @ query >= least - slack).sum()) if np.isfinite(least) else len(rows)
    return good / found.size


def timed(case: Case, k: int, answer: Answers, floor: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Answers, and the shortest of some rounds for each query, less what an empty call costs."""
    times, found = np.full(len(case.queries), np.inf), np.full((len(case.queries), k), -1, dtype=np.int64)
    for _ in range(ROUNDS):
        for at in range(len(case.queries)):
            query = case.queries[at : at + 1]
            began = perf_counter()
            rows = answer(query)
            times[at] = min(times[at], perf_counter() - began)
            found[at, : len(rows)] = rows[:k]
    return found, np.maximum(times - floor, 1e-9)


def aisle(case: Case, k: int, allowed: np.ndarray | None, kth: np.ndarray, lists: bool = False) -> tuple[Row, dict]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        case.items.astype("<f4").tofile(folder / "items.f32")
        case.queries.astype("<f4").tofile(folder / "queries.f32")
        if lists and case.sample is not None:
            case.sample.astype("<f4").tofile(folder / "sample.f32")
        if allowed is not None:
            np.packbits(allowed, bitorder="little").tofile(folder / "allowed.bits")
        command = [ROOT / "target/release/examples/retrieval", folder, str(case.items.shape[1]), str(k)]
        told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        found = np.fromfile(folder / "found.u32", dtype="<u4").astype(np.int64).reshape(-1, k)
        times = np.fromfile(folder / "times.f64", dtype="<f8")
    reached = recall(case, found, kth, allowed)
    if told["lists"]:
        settings = f"{told['lists']['probes']} of {told['lists']['lists']} lists, promises {told['lists']['recall']:.3f} at 100"
        return row("Aisle", settings, reached, times, told["build_seconds"]), told
    assert reached == 1.0, f"{case.name}: Aisle's answers are not the exact ones: {reached}"
    return row("Aisle", "exact", reached, times, told["build_seconds"]), told


def row(contender: str, settings: str, reached: float, times: np.ndarray, build: float | None = None) -> Row:
    return Row(contender, settings, reached, float(np.quantile(times, 0.5)), float(np.quantile(times, 0.99)), build)


def flat(case: Case, k: int, allowed: np.ndarray | None, kth: np.ndarray) -> Row:
    import faiss

    faiss.omp_set_num_threads(1)
    index, tiny = faiss.IndexFlatIP(case.items.shape[1]), faiss.IndexFlatIP(case.items.shape[1])
    index.add(case.items)
    tiny.add(case.items[:64])
    how = {}
    if allowed is not None:
        bits = np.packbits(allowed, bitorder="little")
        how["params"] = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))
    floor = float(np.median(timed(case, k, lambda query: tiny.search(query, min(k, 64), **how)[1][0])[1]))
    found, times = timed(case, k, lambda query: index.search(query, k, **how)[1][0], floor)
    return row("faiss IndexFlatIP", "exact", recall(case, found, kth, allowed), times)


def approximate(case: Case, only: list[str]) -> Iterator[tuple[str, float, list[tuple[str, Callable[[int], Answers]]]]]:
    """Contender, seconds to build, and its settings from fast to thorough, each a function of k."""
    depth, count = case.items.shape[1], len(case.items)
    if "ivf" in only:
        import faiss

        began = perf_counter()
        lists = 1 << int(np.log2(4 * count**0.5) - 0.5)
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(depth), depth, lists, faiss.METRIC_INNER_PRODUCT)
        index.train(case.items)
        index.add(case.items)

        def probes(number: int) -> Callable[[int], Answers]:
            how = faiss.SearchParametersIVF(nprobe=number)
            return lambda k: lambda query: index.search(query, k, params=how)[1][0]

        yield f"faiss IVF{lists}", perf_counter() - began, [(f"nprobe {n}", probes(n)) for n in (2, 4, 8, 16, 32, 64, 128, 256) if n <= lists]
    if "hnsw" in only:
        import faiss

        began = perf_counter()
        graph = faiss.IndexHNSWFlat(depth, 16, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction = 200
        faiss.omp_set_num_threads(os.cpu_count() or 1)
        graph.add(case.items)
        faiss.omp_set_num_threads(1)

        def breadth(number: int) -> Callable[[int], Answers]:
            how = faiss.SearchParametersHNSW(efSearch=number)
            return lambda k: lambda query: graph.search(query, k, params=how)[1][0]

        yield "faiss HNSW16", perf_counter() - began, [(f"efSearch {n}", breadth(n)) for n in (32, 64, 128, 256, 512, 1024)]
    if "usearch" in only:
        from usearch.index import Index

        began = perf_counter()
        index_u = Index(ndim=depth, metric="ip", dtype="f32", connectivity=16, expansion_add=200)
        index_u.add(np.arange(count), case.items, threads=os.cpu_count() or 1)

        def expand(number: int) -> Callable[[int], Answers]:
            def of(k: int) -> Answers:
                index_u.expansion_search = number
                return lambda query: index_u.search(query[0], k, threads=1).keys.astype(np.int64)

            return of

        yield "usearch HNSW16", perf_counter() - began, [(f"expansion {n}", expand(n)) for n in (32, 64, 128, 256, 512, 1024)]
    if "hnswlib" in only:
        import hnswlib

        began = perf_counter()
        space = hnswlib.Index(space="ip", dim=depth)
        space.init_index(max_elements=count, ef_construction=200, M=16)
        space.add_items(case.items)
        space.set_num_threads(1)

        def ef(number: int) -> Callable[[int], Answers]:
            def of(k: int) -> Answers:
                space.set_ef(max(number, k))
                return lambda query: space.knn_query(query, k=k)[0][0].astype(np.int64)

            return of

        yield "hnswlib M16", perf_counter() - began, [(f"ef {n}", ef(n)) for n in (32, 64, 128, 256, 512, 1024)]
    if "scann" in only:
        import scann

        began = perf_counter()
        leaves = int(2 * count**0.5)
        builder = scann.scann_ops_pybind.builder(case.items, 100, "dot_product")
        searcher = (
            builder.tree(num_leaves=leaves, num_leaves_to_search=leaves // 10, training_sample_size=min(count, 250_000))
            .score_ah(2, anisotropic_quantization_threshold=0.2)
            .reorder(100)
            .build()
        )

        def search(part: float, reorder: int) -> Callable[[int], Answers]:
            def of(k: int) -> Answers:
                more = max(reorder, 2 * k)
                visit = max(1, int(leaves * part))
                return lambda query: searcher.search(
                    query[0], final_num_neighbors=k, pre_reorder_num_neighbors=more, leaves_to_search=visit
                )[0].astype(np.int64)

            return of

        settings = [(0.02, 50), (0.05, 50), (0.05, 100), (0.1, 100), (0.2, 100), (0.2, 200), (0.5, 200), (0.5, 500), (1.0, 500)]
        yield "ScaNN", perf_counter() - began, [(f"{part:.0%} of leaves, reorder {more}", search(part, more)) for part, more in settings]


def best(case: Case, k: int, name: str, build: float, settings: list, kth: np.ndarray, floor: float) -> Iterator[Row]:
    """The fastest setting that reaches each recall, or the most thorough one."""
    rows = []
    for text, of in settings:
        found, times = timed(case, k, of(k), floor)
        rows.append(row(name, text, recall(case, found, kth, None), times, build))
        if rows[-1].recall >= WANTED[-1]:
            break
    chosen = []
    for least in WANTED:
        enough = [one for one in rows if one.recall >= least]
        chosen.append(min(enough, key=lambda one: one.p50) if enough else rows[-1])
    yield from dict.fromkeys(chosen)


def floor_of_calls(case: Case) -> float:
    """What one call from Python into an index of 64 vectors takes: it is taken off every peer's time."""
    import faiss

    tiny = faiss.IndexFlatIP(case.items.shape[1])
    tiny.add(case.items[:64])
    return float(np.median(timed(case, 20, lambda query: tiny.search(query, 20)[1][0])[1]))


def table(title: str, rows: list[Row]) -> list[str]:
    ours = [one for one in rows if one.contender == "Aisle"][-1]
    lines = [f"### {title}", "", "| index | settings | recall | p50 µs | × Aisle | p99 µs | × Aisle | build s |", "| --- " * 8 + "|"]
    for one in rows:
        cells = [one.contender, one.settings, f"{one.recall:.3f}", f"{one.p50 * 1e6:.0f}", f"{one.p50 / ours.p50:.1f}"]
        cells += [f"{one.p99 * 1e6:.0f}", f"{one.p99 / ours.p99:.1f}", "" if one.build is None else f"{one.build:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    return [*lines, ""]


def filters(case: Case, k: int) -> Iterator[tuple[str, np.ndarray]]:
    random = np.random.default_rng(3)
    for share in PASS:
        yield f"{share:.1%} at random", random.random(len(case.items)) < share
    if case.categories is None or len(set(case.categories)) < 2:
        return
    paths = [str(path or "").split(" > ") for path in case.categories]
    for share in PASS[1:]:
        shares: dict[tuple[str, ...], np.ndarray] = {}
        for level in (1, 2, 3):
            heads = np.array([" > ".join(path[:level]) for path in paths], dtype=object)
            names, counts = np.unique(heads.astype(str), return_counts=True)
            near = np.argmin(np.abs(np.log(counts / len(paths) / share)))
            shares[(names[near],)] = heads == names[near]
        name, mask = min(shares.items(), key=lambda one: abs(np.log(one[1].mean() / share)))
        yield f"category {name[0]} ({mask.mean():.2%})", mask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="+", help="NAME=FOLDER of a published version of als or low-pass, or unit:ITEMS:DEPTH")
    parser.add_argument("--k", default="20,100")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--only", default="ivf,hnsw,usearch,hnswlib,scann", help="of ivf, hnsw, usearch, hnswlib, scann")
    parser.add_argument("--filters", action="store_true", help="also filtered, beside faiss with a bitmap")
    parser.add_argument("--out", type=Path, required=True, help="Markdown")
    args = parser.parse_args()
    only = [name for name in args.only.split(",") if name]
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), platform.machine())
    lines = [f"# Retrieval, {date.today()}, {model}, one thread", ""]
    for text in args.cases:
        case = made(text, args.queries) if text.startswith("unit:") else of_version(text, args.queries)
        count, depth = case.items.shape
        print(f"{case.name}: {count:,} × {depth}", flush=True)
        lines += [f"## {case.name}: {count:,} × {depth}, {len(case.queries):,} queries", ""]
        floor = floor_of_calls(case)
        built = [(name, seconds, settings) for name, seconds, settings in approximate(case, only)]
        for k in (int(k) for k in args.k.split(",")):
            kth = truth(case, k, None)
            ours, told = aisle(case, k, None, kth)
            rows = [ours, flat(case, k, None, kth)]
            if len(case.items) >= LARGE:
                rows.insert(1, aisle(case, k, None, kth, lists=True)[0])
            for name, seconds, settings in built:
                rows += best(case, k, name, seconds, settings, kth, floor)
            lines += table(f"k {k}", rows)
        lines += [f"Beside the vectors Aisle's index takes {told['extra_bytes'] / told['vector_bytes']:.2f} of their bytes.", ""]
        if args.filters:
            for title, mask in filters(case, 20):
                kth = truth(case, min(20, int(mask.sum())), mask)
                k = min(20, int(mask.sum()))
                lines += table(f"k {k}, filter: {title}", [aisle(case, k, mask, kth)[0], flat(case, k, mask, kth)])
    args.out.write_text("\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    sys.exit(main())
