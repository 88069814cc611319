"""Aisle beside its peers, in one run: accuracy, fit time, memory, and recommending to all. README.md says how to read it."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from report import Result, Results, render

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FAMILIES = ("aisle", "implicit", "irspack", "faiss", "numpy")
TABLES = ("als", "others", "recommend")
OURS = {
    "low-pass": {"factors": 512, "iterations": 3},
    "linear-filter": {},
    "local-ridge": {"neighbours": 100},
    "blend": {},
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=Path, required=True, help="Parquet with user_id and item_id")
    parser.add_argument("--test", type=Path, required=True, help="Parquet with user_id and item_id")
    parser.add_argument("--factors", type=numbers, default=[64, 128, 256], help="of ALS, comma-separated")
    parser.add_argument("--only", type=names, default=list(FAMILIES), help=f"of {', '.join(FAMILIES)}, lenskit (5 GB more)")
    parser.add_argument("--tables", type=names, default=list(TABLES), help=f"of {', '.join(TABLES)}")
    parser.add_argument("--iterations", type=int, default=10, help="of implicit, lenskit and Aisle")
    parser.add_argument("--alpha", type=float, default=100.0, help="of implicit and lenskit; the default is tuned on gowalla")
    parser.add_argument("--regularization", type=float, default=100.0, help="likewise")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--timeout", type=int, default=1800, help="seconds that a contender may take")
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/aisle-train")
    parser.add_argument("--venv", type=Path, default=ROOT / "target/peers-venv")
    parser.add_argument("--out", type=Path, default=HERE.parent / "results", help="folder of the Markdown")
    args = parser.parse_args()
    if unknown := [name for name in args.only if name not in (*FAMILIES, "lenskit")]:
        parser.error(f"--only {','.join(unknown)}: known are {', '.join(FAMILIES)}, lenskit")
    if unknown := [name for name in args.tables if name not in TABLES]:
        parser.error(f"--tables {','.join(unknown)}: known are {', '.join(TABLES)}")
    return args


def names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def numbers(text: str) -> list[int]:
    return [int(name) for name in names(text)]


def environment(venv: Path, files: list[Path]) -> Path:
    """The interpreter of the venv with all that can be installed; what cannot be fails later, in its own row."""
    python = venv / "bin/python"
    if not python.exists():
        print("making the venv", flush=True)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    install = [python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:"]
    for file in files:
        if subprocess.run([*install, "-r", file]).returncode != 0:
            for requirement in requirements(file):
                subprocess.run([*install, requirement])
    return python


def requirements(file: Path) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in file.read_text().splitlines())
    return [line for line in lines if line]


def versions(python: Path, files: list[Path]) -> str:
    listed = subprocess.run([python, "-m", "pip", "list", "--format=json"], capture_output=True, text=True, check=True).stdout
    interpreter = subprocess.run([python, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    found = {package["name"].lower(): package["version"] for package in json.loads(listed)}
    wanted = [requirement.partition("==")[0] for file in files for requirement in requirements(file)]
    return ", ".join([interpreter, *(f"{name} {found.get(name.lower(), 'not installed')}" for name in wanted)])


@dataclass(frozen=True)
class Bench:
    """Runs one contender at a time, each in its own process."""

    args: argparse.Namespace
    python: Path
    scratch: Path

    def peer(self, name: str, settings: str, contender: str, **job: object) -> Result:
        """A contender of peers.py. implicit wants one BLAS thread, since it makes its own."""
        out = self.scratch / "result.json"
        common = {"contender": contender, "threads": self.args.threads, "out": str(out)}
        log = {"train": str(self.args.train), "test": str(self.args.test)}
        path = self.scratch / "job.json"
        path.write_text(json.dumps({**common, **log, **job}))
        blas = 1 if contender.startswith("implicit") else self.args.threads
        started = Result(name, settings)
        try:
            run([self.python, HERE / "peers.py", path], self.args, blas)
        except Failed as failure:
            return told(replace(started, failed=f"failed: {failure.reason}"))
        return told(replace(started, **json.loads(out.read_text())))

    def aisle(self, name: str, algorithm: str, **settings: object) -> Result:
        out = self.scratch / "result.json"
        pairs = [f"{key}={value}" for key, value in settings.items()]
        started = Result(f"Aisle {name}", ", ".join(pairs) or "defaults")
        if not self.args.binary.exists():
            return told(replace(started, failed="failed: no binary, run cargo build --release --bins"))
        command = [self.args.binary, "evaluate", "--algorithm", algorithm, "--train", self.args.train, "--test", self.args.test]
        command += ["--threads", self.args.threads, "--json", out, *(part for pair in pairs for part in ("--set", pair))]
        try:
            run(command, self.args, self.args.threads)
        except Failed as failure:
            absent = f"invalid value '{algorithm}'" in failure.stderr
            return told(replace(started, failed="not in this build" if absent else f"failed: {failure.reason}"))
        found = json.loads(out.read_text())
        return told(
            replace(
                started,
                recall=found["metrics"]["recall@20"],
                ndcg=found["metrics"]["ndcg@20"],
                users=found["queries"],
                fit_seconds=found["fit_seconds"],
                epoch_seconds=found["epoch_seconds"],
                recommend_seconds=found["evaluate_seconds"],
                peak_rss_bytes=found["peak_rss_bytes"],
            )
        )

    def check(self) -> None:
        """Stops everything where the metrics of peers and Aisle are not the same."""
        binary = str(self.args.binary) if "aisle" in self.args.only and self.args.binary.exists() else None
        checked = self.peer("the metrics of a log made by hand", "", "check", binary=binary, scratch=str(self.scratch))
        if checked.failed:
            raise SystemExit(checked.failed)


class Failed(Exception):
    """A process that gave no result."""

    def __init__(self, reason: str, stderr: str = "") -> None:
        super().__init__(reason)
        self.reason, self.stderr = reason, stderr


def run(command: list[object], args: argparse.Namespace, blas_threads: int) -> None:
    threads = {name: str(args.threads) for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS", "NUMBA_NUM_THREADS", "LK_NUM_THREADS")}
    blas = {name: str(blas_threads) for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LK_NUM_BACKEND_THREADS")}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AISLE_")}
    try:
        done = subprocess.run(
            [str(part) for part in command],
            env={**inherited, **threads, **blas},
            timeout=args.timeout,
            capture_output=True,
            text=True,
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"took longer than {args.timeout} s") from None
    if done.returncode < 0:
        raise Failed(f"ended by signal {-done.returncode}")
    if done.returncode > 0:
        raise Failed(reason(done.stderr) or f"ended with code {done.returncode}", done.stderr)


def reason(stderr: str) -> str:
    """The line that says what went wrong (Rust's first error, Python's last line), without addresses and paths."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    said = next((line for line in lines if line.lower().startswith("error:")), lines[-1] if lines else "")
    return re.sub(r"\S*(://|/)\S*", "…", said)[:160]


def told(result: Result) -> Result:
    figures = f"{result.ndcg:.4f} NDCG@20, fit {result.fit_seconds:.2f} s" if result.ndcg is not None else result.failed or "agree"
    print(f"{result.name} ({result.settings}): {figures}" if result.settings else f"{result.name}: {figures}", flush=True)
    return result


def compare(bench: Bench) -> Results:
    args, results = bench.args, Results()
    if "als" in args.tables or "recommend" in args.tables:
        for factors in args.factors:
            compare_als(bench, factors, results)
    if "others" in args.tables:
        results.others = compare_others(bench)
    return results


def compare_als(bench: Bench, factors: int, results: Results) -> None:
    """The ALS of everyone, which also gives what recommending to all takes."""
    args, rows, rates = bench.args, [], []
    if "aisle" in args.only:
        counts = range(1, args.iterations + 1) if "als" in args.tables else [args.iterations]
        curve = [bench.aisle("als", "als", factors=factors, iterations=count) for count in counts]
        results.curves[factors] = curve
        rows.append(curve[-1])
        rates.append(curve[-1])
    vectors = str(bench.scratch / f"implicit-{factors}.npz")
    tuned = {"iterations": args.iterations, "alpha": args.alpha, "regularization": args.regularization}
    shown = f"{args.iterations} epochs, alpha {args.alpha:g}, regularization {args.regularization:g}"
    if "implicit" in args.only:
        row = bench.peer("implicit", f"CG, 3 steps, {shown}", "implicit_als", factors=factors, save=vectors, **tuned)
        rows.append(row)
        rates.append(replace(row, name="implicit recommend", settings="batches of 1,000"))
    if "irspack" in args.only and "als" in args.tables:
        epochs = 8 if factors <= 64 else 6 if factors <= 128 else 4
        shown_here = f"iALS++, block 64, {epochs} epochs, α₀ .01, λ .003, ν 1"
        rows.append(bench.peer("irspack", shown_here, "irspack_als", factors=factors, iterations=epochs))
    if "lenskit" in args.only and "als" in args.tables:
        rows.append(bench.peer("lenskit", shown, "lenskit_als", factors=factors, **tuned))
    if "als" in args.tables:
        results.als[factors] = rows
    if "recommend" in args.tables:
        if "faiss" in args.only:
            rates.append(faiss(bench, vectors, rates))
        results.recommend[factors] = rates


def faiss(bench: Bench, vectors: str, before: list[Result]) -> Result:
    """Exact search over implicit's vectors, which must answer as implicit does."""
    name, settings = "faiss IndexFlatIP", "over-fetch and filter"
    implicit = next((rate for rate in before if rate.name.startswith("implicit") and not rate.failed), None)
    if implicit is None:
        return told(Result(name, settings, failed="failed: it searches implicit's vectors, and there are none"))
    result = bench.peer(name, settings, "faiss_flat", load=vectors)
    if not result.failed and abs(result.ndcg - implicit.ndcg) > 1e-3:
        return told(Result(name, settings, failed="failed: its answers are not implicit's"))
    return result


def compare_others(bench: Bench) -> list[tuple[Result, Result | None]]:
    """Each result with that of Aisle which it is compared with."""
    only, rows = bench.args.only, []
    ours: dict[str, Result] = {}
    if "aisle" in only:
        ours = {name: bench.aisle(name, name, **settings) for name, settings in OURS.items()}
        ours["cosine"] = bench.aisle("item-knn", "item-knn", measure="cosine", neighbours=100)
        ours["bm25"] = bench.aisle("item-knn", "item-knn", measure="bm25", neighbours=100)
        rows += [(result, result) for result in ours.values()]

    def add(counterpart: str, result: Result) -> None:
        rows.append((result, ours.get(counterpart)))

    if "numpy" in only:
        add("low-pass", bench.peer("NumPy low-pass SVD", "d 512, 3 power iterations", "low_pass", factors=512, iterations=3))
        rows.append((bench.peer("NumPy local ridge", "K 100, l2 80", "local_ridge", neighbours=100, l2=80), None))
    if "implicit" in only:
        for model, counterpart in (("CosineRecommender", "cosine"), ("BM25Recommender", "bm25")):
            add(counterpart, bench.peer(f"implicit {model}", "K 100", "implicit_knn", model=model, neighbours=100))
    if "irspack" in only:
        cosine = {"top_k": 100, "normalize": True}
        for model, options in (
            ("CosineKNNRecommender", cosine),
            ("P3alphaRecommender", {"top_k": 100}),
            ("RP3betaRecommender", {"top_k": 100}),
        ):
            add("cosine", bench.peer(f"irspack {model}", "K 100", "irspack_knn", model=model, options=options))
    return rows


def processor() -> tuple[str, str]:
    """Name of the processor with its cores, and the widest vectors it has."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = facts.get("flags", "").split()
    widest = next((name for name in ("avx512f", "avx2") if name in flags), "no AVX2")
    return f"{facts.get('model name', platform.machine())}, {os.cpu_count()} cores", widest


def heading(args: argparse.Namespace, load: float, installed: str) -> list[str]:
    cpu, widest = processor()
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    return [
        f"# Aisle and its peers, {date.today()}, {cpu}",
        f"- Data: {args.train.resolve().parent.name}. Full ranking, no sampled negatives, training items left out.",
        f"- {args.threads} threads each, one contender at a time, each in a process of its own, all in one run.",
        f"- {widest}. Load average at the start: {load:.2f}; with other work going on, trust the ratios only, and not far.",
        "- × Aisle says how many times Aisle's time or memory a peer takes: above 1, Aisle is ahead.",
        f"- Aisle {commit or 'of no commit'}, {installed}.",
    ]


def main() -> None:
    args = arguments()
    load = os.getloadavg()[0]
    files = [HERE / "requirements.txt"]
    if "lenskit" in args.only:
        files.append(HERE / "requirements-lenskit.txt")
    python = environment(args.venv, files)
    head = heading(args, load, versions(python, files))
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(args, python, Path(scratch))
        bench.check()
        text = render(head, compare(bench))
    print("\n" + text)
    slug = re.sub(r"[^a-z0-9]+", "-", processor()[0].lower()).strip("-")
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / f"{date.today()}-{slug}.md").write_text(text)


if __name__ == "__main__":
    main()
