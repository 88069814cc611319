"""One contender in a process of its own: `python peers.py JOB.json` fits it, answers all shoppers, and writes what it measured.

A contender is a function from the log and its settings to a `Fitted`. Fit seconds never include reading the log or
building the matrix of users x items.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from scipy.sparse import csr_matrix, diags

import measure
from measure import K, Log

BATCH = 1000
OVERFETCH = 1000  # of a past, at most: longer pasts may leave fewer than k answers


@dataclass(frozen=True)
class Fitted:
    """`answer` takes rows of users and returns their top k items, -1 where there are fewer."""

    answer: Callable[[np.ndarray], np.ndarray]
    fit_seconds: float
    epoch_seconds: float | None = None


def timed(work: Callable[[], object]) -> float:
    began = perf_counter()
    work()
    return perf_counter() - began


def epochs(step: Callable[[], object], count: int) -> tuple[float, float]:
    """Seconds of all steps, and of one after the first, which also warms up."""
    each = [timed(step) for _ in range(count)]
    return sum(each), float(np.mean(each[1:] or each))


def implicit_als(log: Log, job: dict) -> Fitted:
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        factors=job["factors"],
        alpha=job["alpha"],
        regularization=job["regularization"],
        iterations=job["iterations"],
        num_threads=job["threads"],
        random_state=1,
    )
    each: list[float] = []
    seconds = timed(lambda: model.fit(log.seen, show_progress=False, callback=lambda _, took, __: each.append(took)))
    if job.get("save"):
        np.savez(job["save"], users=model.user_factors, items=model.item_factors)
    return Fitted(implicit_answer(model, log), seconds, float(np.mean(each[1:] or each)))


def implicit_knn(log: Log, job: dict) -> Fitted:
    from implicit import nearest_neighbours

    model = getattr(nearest_neighbours, job["model"])(K=job["neighbours"], num_threads=job["threads"])
    return Fitted(implicit_answer(model, log), timed(lambda: model.fit(log.seen, show_progress=False)))


def implicit_answer(model, log: Log) -> Callable[[np.ndarray], np.ndarray]:
    return lambda users: model.recommend(users, log.seen[users], N=K, filter_already_liked_items=True)[0]


def faiss_flat(log: Log, job: dict) -> Fitted:
    """Exact inner products over implicit's factors: fetch k and as many as the longest past of the batch, then filter."""
    import faiss

    faiss.omp_set_num_threads(job["threads"])
    factors = np.load(job["load"])
    vectors, items = factors["users"], factors["items"]
    index = faiss.IndexFlatIP(items.shape[1])
    seconds = timed(lambda: index.add(items))
    mask = np.zeros((BATCH, len(items)), dtype=bool)

    def answer(users: np.ndarray) -> np.ndarray:
        past = log.seen[users]
        lengths = np.diff(past.indptr)
        fetch = min(K + min(int(lengths.max()), OVERFETCH), len(items))
        _, found = index.search(vectors[users], fetch)
        rows = np.repeat(np.arange(len(users)), lengths)
        mask[rows, past.indices] = True
        new = ~mask[np.arange(len(users))[:, None], found]
        mask[rows, past.indices] = False
        place = np.cumsum(new, axis=1)
        row, column = np.nonzero(new & (place <= K))
        lists = np.full((len(users), K), -1)
        lists[row, place[row, column] - 1] = found[row, column]
        return lists

    return Fitted(answer, seconds)


def irspack_als(log: Log, job: dict) -> Fitted:
    from irspack import IALSRecommender

    model = IALSRecommender(
        log.seen,
        n_components=job["factors"],
        alpha0=0.01,
        reg=0.003,
        nu=1.0,
        solver_type="IALSPP",
        ialspp_subspace_dimension=64,
        n_threads=job["threads"],
    )
    model.start_learning()
    return Fitted(irspack_answer(model, log), *epochs(model.run_epoch, job["iterations"]))


def irspack_knn(log: Log, job: dict) -> Fitted:
    import irspack

    model = getattr(irspack, job["model"])(log.seen, n_threads=job["threads"], **job["options"])
    return Fitted(irspack_answer(model, log), timed(model.learn))


def irspack_answer(model, log: Log) -> Callable[[np.ndarray], np.ndarray]:
    return lambda users: measure.top(model.get_score_remove_seen(users), log.seen[users])


def lenskit_als(log: Log, job: dict) -> Fitted:
    import pandas as pd
    from lenskit.als import ImplicitMFScorer
    from lenskit.data import from_interactions_df
    from lenskit.training import TrainingOptions

    pairs = log.seen.tocoo()
    data = from_interactions_df(pd.DataFrame({"user_id": pairs.row, "item_id": pairs.col}))
    scorer = ImplicitMFScorer(
        embedding_size=job["factors"],
        epochs=job["iterations"],
        weight=job["alpha"] - 1,  # implicit's alpha is the weight of an observed cell, lenskit's is what it adds to 1
        regularization=job["regularization"],
    )
    trainer = scorer.create_trainer(data, TrainingOptions(rng=1))
    seconds = epochs(trainer.train_epoch, job["iterations"])
    trainer.finalize()
    users = scorer.user_embeddings[scorer.users.numbers(np.arange(log.seen.shape[0]))]
    items = scorer.item_embeddings[scorer.items.numbers(np.arange(log.seen.shape[1]))]
    return Fitted(dot(users, items, log), *seconds)


def low_pass(log: Log, job: dict) -> Fitted:
    """Top right singular vectors V of D_u^-1/2 X D_i^-1/2 by randomised block power iteration; user = x D_i^-1/2 V,
    item = D_i^1/2 V."""

    def fit() -> tuple[np.ndarray, np.ndarray]:
        by_user, by_item = (np.sqrt(np.asarray(log.seen.sum(axis=axis)).ravel()) for axis in (1, 0))
        weighed = (log.seen @ diags(1 / by_item)).astype(np.float32).tocsr()
        forward = (diags(1 / by_user) @ weighed).astype(np.float32).tocsr()
        back = forward.T.tocsr()
        block = np.random.default_rng(1).standard_normal((forward.shape[1], job["factors"]), dtype=np.float32)
        for _ in range(job["iterations"]):
            block, _ = np.linalg.qr(back @ (forward @ block))
        return weighed @ block, block * by_item[:, None].astype(np.float32)

    began = perf_counter()
    users, items = fit()
    return Fitted(dot(users, items, log), perf_counter() - began)


def local_ridge(log: Log, job: dict) -> Fitted:
    """For each item, a ridge regression on the items with the highest cosine to it (EASE within a neighbourhood)."""
    began = perf_counter()
    together = (log.seen.T @ log.seen).tocsr()
    norms = np.sqrt(together.diagonal())
    place = np.full(len(norms), -1)
    rows, cols, weights = [], [], []
    for item in range(len(norms)):
        span = slice(together.indptr[item], together.indptr[item + 1])
        others, counts = together.indices[span], together.data[span]
        near = np.argsort(np.where(others == item, -1, counts / norms[others]))[::-1][: job["neighbours"]]
        near = near[others[near] != item]
        chosen = others[near]
        place[chosen] = np.arange(len(chosen))
        gram = neighbourhood(together[chosen], place, len(chosen)) + job["l2"] * np.eye(len(chosen))
        place[chosen] = -1
        rows.append(chosen)
        cols.append(np.full(len(chosen), item))
        weights.append(np.linalg.solve(gram, counts[near]))
    pairs = (np.concatenate(rows), np.concatenate(cols))
    model = csr_matrix((np.concatenate(weights).astype(np.float32), pairs), shape=together.shape)
    seconds = perf_counter() - began
    return Fitted(lambda users: measure.top((log.seen[users] @ model).toarray(), log.seen[users]), seconds)


def neighbourhood(rows: csr_matrix, place: np.ndarray, size: int) -> np.ndarray:
    gram = np.zeros((size, size))
    row = np.repeat(np.arange(size), np.diff(rows.indptr))
    column = place[rows.indices]
    inside = column >= 0
    gram[row[inside], column[inside]] = rows.data[inside]
    return gram


def dot(users: np.ndarray, items: np.ndarray, log: Log) -> Callable[[np.ndarray], np.ndarray]:
    return lambda rows: measure.top(users[rows] @ items.T, log.seen[rows])


CONTENDERS: dict[str, Callable[[Log, dict], Fitted]] = {
    function.__name__: function
    for function in (
        implicit_als,
        implicit_knn,
        faiss_flat,
        irspack_als,
        irspack_knn,
        lenskit_als,
        low_pass,
        local_ridge,
    )
}


def peak_rss() -> int:
    """Bytes this process had at most, from the kernel's VmHWM."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def run(job: dict) -> dict:
    log = measure.read(Path(job["train"]), Path(job["test"]))
    fitted = CONTENDERS[job["contender"]](log, job)
    rss = peak_rss()
    began = perf_counter()
    lists = [fitted.answer(log.users[at : at + BATCH]) for at in range(0, len(log.users), BATCH)]
    recommend_seconds = perf_counter() - began
    recall, ndcg = measure.metrics(np.concatenate(lists), log.wanted[log.users])
    return {
        "recall": recall,
        "ndcg": ndcg,
        "users": len(log.users),
        "fit_seconds": fitted.fit_seconds,
        "epoch_seconds": fitted.epoch_seconds,
        "recommend_seconds": recommend_seconds,
        "peak_rss_bytes": rss,
    }


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    if job["contender"] == "check":
        measure.check(Path(job["binary"]) if job["binary"] else None, Path(job["scratch"]))
        result = {}
    else:
        result = run(job)
    Path(job["out"]).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
