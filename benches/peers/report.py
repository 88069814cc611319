"""From results to Markdown. A ratio is how many times Aisle's time or memory a peer takes: above 1, Aisle is ahead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Result:
    """One contender in one run; `failed` says why there are no figures. Seconds and bytes."""

    name: str
    settings: str = ""
    failed: str | None = None
    recall: float | None = None
    ndcg: float | None = None
    users: int | None = None
    fit_seconds: float | None = None
    epoch_seconds: float | None = None
    recommend_seconds: float | None = None
    peak_rss_bytes: int | None = None

    @property
    def users_per_second(self) -> float | None:
        return self.users / self.recommend_seconds if self.users and self.recommend_seconds else None


@dataclass
class Results:
    """All of a run. `curves`: Aisle's ALS by factors, one result for each number of iterations from 1."""

    als: dict[int, list[Result]] = field(default_factory=dict)
    curves: dict[int, list[Result]] = field(default_factory=dict)
    others: list[tuple[Result, Result | None]] = field(default_factory=list)
    recommend: dict[int, list[Result]] = field(default_factory=dict)

    def ours(self, factors: int) -> Result | None:
        curve = self.curves.get(factors, [])
        return curve[-1] if curve and not curve[-1].failed else None

    def everything(self) -> list[Result]:
        rows = [result for table in (self.als, self.curves, self.recommend) for part in table.values() for result in part]
        return rows + [result for result, _ in self.others]


def render(heading: list[str], results: Results) -> str:
    tables = (als, time_to_same, curves, others, recommend)
    parts = ["\n".join(heading), measured(results), *(table(results) for table in tables)]
    return "\n\n".join(part for part in parts if part) + "\n"


def measured(results: Results) -> str:
    counts = sorted({result.users for result in results.everything() if result.users})
    if len(counts) > 1:
        return f"**The contenders did not measure the same shoppers ({counts}): do not compare them.**"
    return f"Every contender measured the same {counts[0]:,} shoppers." if counts else ""


def als(results: Results) -> str:
    compared_header = ["fit s", "× Aisle", "s/epoch", "× Aisle", "peak MiB", "× Aisle"]
    header = ["d", "contender", "settings", "recall@20", "NDCG@20", *compared_header]
    rows = []
    for factors, contenders in results.als.items():
        ours = results.ours(factors)
        for result in contenders:
            compared = [
                with_ratio(result, ours, "fit_seconds", seconds),
                with_ratio(result, ours, "epoch_seconds", seconds),
                with_ratio(result, ours, "peak_rss_bytes", mebibytes),
            ]
            cells = [quality(result.recall), quality(result.ndcg), *(cell for pair in compared for cell in pair)]
            rows.append([str(factors), *row(result, cells)])
    return section(
        "ALS",
        "Fit seconds begin with the matrix of users × items ready, on both sides. implicit's `.fit` includes its own transposing; "
        "irspack's and lenskit's matrices and first vectors are ready before the clock starts. An epoch is the mean of those after "
        "the first. Peak memory of a peer is its process's at the end of the fit, Python included; Aisle's is that of the "
        "whole command, with the measuring and the two baselines that `evaluate` always fits.",
        header,
        rows,
    )


def time_to_same(results: Results) -> str:
    rows = []
    for factors, contenders in results.als.items():
        curve = results.curves.get(factors, [])
        for peer in contenders:
            if not curve or peer.failed or peer in curve:
                continue
            enough = [(at + 1, run.fit_seconds) for at, run in enumerate(curve) if not run.failed and run.ndcg >= peer.ndcg]
            cells = [str(factors), peer.name, quality(peer.ndcg), seconds(peer.fit_seconds)]
            if enough:
                iterations, ours = enough[0]
                cells += [seconds(ours), str(iterations), ratio(peer.fit_seconds, ours)]
            else:
                cells += [f"not within {len(curve)} iterations", "–", "–"]
            rows.append(cells)
    return section(
        "Time to the same NDCG",
        "The NDCG@20 a peer ends with after its fixed epochs, and the fit time of Aisle's first iteration count that reaches it, known "
        "afterwards. Aisle's fit is deterministic, so that n iterations are a prefix of n + 1; each count is a run of its own.",
        ["d", "peer", "NDCG@20", "fit s", "Aisle's fit s", "iterations", "× Aisle"],
        rows,
    )


def curves(results: Results) -> str:
    length = max((len(curve) for curve in results.curves.values()), default=0)
    rows = []
    for factors, curve in results.curves.items():
        if any(run.failed for run in curve):
            continue
        cells = [f"{quality(run.ndcg)} at {seconds(run.fit_seconds)}" for run in curve]
        rows.append([str(factors), *cells, *["–"] * (length - len(cells))])
    header = ["d", *(str(at + 1) for at in range(length))]
    return section("Aisle's ALS by iterations", "NDCG@20 at fit seconds.", header, rows)


def others(results: Results) -> str:
    rows = []
    for result, ours in results.others:
        compared = with_ratio(result, ours, "fit_seconds", seconds)
        cells = [quality(result.recall), quality(result.ndcg), *compared, mebibytes(result.peak_rss_bytes)]
        rows.append(row(result, cells))
    return section(
        "Other models",
        "× Aisle compares with Aisle's model of the same kind. NumPy's local ridge is there for its accuracy and has no ratio: a loop "
        "in Python is no yardstick for speed. Memory as with ALS.",
        ["model", "settings", "recall@20", "NDCG@20", "fit s", "× Aisle", "peak MiB"],
        rows,
    )


def recommend(results: Results) -> str:
    rows = []
    for factors, contenders in results.recommend.items():
        ours = results.ours(factors)
        for result in contenders:
            rate = result.users_per_second
            share = ratio(ours.users_per_second, rate) if ours and ours.users_per_second and rate else "–"
            cells = [f"{rate:,.0f}" if rate else "–", share, quality(result.ndcg)]
            rows.append([str(factors), *row(result, cells)])
    return section(
        "Recommend all",
        "Top 20 for every measured shopper, the shopper's own items left out. Aisle's time includes computing the metrics, the "
        "peers' does not. faiss searches implicit's vectors exactly, fetches 20 and as many "
        "as the longest past of the batch (1,000 at most), and filters after; its NDCG must be implicit's.",
        ["d", "contender", "settings", "users/s", "× Aisle", "NDCG@20"],
        rows,
    )


def section(title: str, text: str, header: list[str], rows: list[list[str]]) -> str:
    if not rows:
        return ""
    lines = [header, ["---"] * len(header), *rows]
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    return f"## {title}\n{text}\n\n{table}"


def row(result: Result, cells: list[str]) -> list[str]:
    """Name, settings and cells, or the reason of a failure in the first of them."""
    if result.failed:
        cells = [result.failed.replace("|", "/"), *["–"] * (len(cells) - 1)]
    return [result.name, result.settings, *cells]


def with_ratio(result: Result, ours: Result | None, figure: str, show: Callable) -> tuple[str, str]:
    value = getattr(result, figure)
    base = getattr(ours, figure) if ours else None
    return show(value), "1" if result is ours else ratio(value, base)


def ratio(value: float | None, base: float | None) -> str:
    return f"{value / base:.2g}" if value and base else "–"


def quality(value: float | None) -> str:
    """Four digits, without the zero before the point, as the field's tables print them."""
    return "–" if value is None else f"{value:.4f}".removeprefix("0")


def seconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if value < 1 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def mebibytes(value: int | None) -> str:
    return "–" if value is None else f"{value / 2**20:.0f}"
