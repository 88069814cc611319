"""What every peer is measured by: one reading of the log, one top-k, one definition of the metrics.

The definitions are Aisle's (models/src/metrics.rs): a shopper is measured who has a past in the training log and
something new in the test log; what the shopper had before is neither answered nor asked for; an item that the training log
does not know is asked for all the same. No negatives are sampled.
"""

from __future__ import annotations

import json
import math
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix

K = 20
MASKED = -np.inf


@dataclass(frozen=True)
class Log:
    """`seen`: users x items, ones. `wanted`: the same users x (items, then items known to the test log only), ones.
    `users`: rows to measure, those with the shortest past first, so that a batch has pasts of about one length."""

    seen: csr_matrix
    wanted: csr_matrix
    users: np.ndarray


def read(train: Path, test: Path) -> Log:
    """Reads two Parquet files with the columns user_id and item_id; the rows of `seen` are in the order of sorted ids."""
    train_users, train_items = columns(train)
    test_users, test_items = columns(test)
    user_ids, user_rows = np.unique(train_users, return_inverse=True)
    item_ids, item_rows = np.unique(train_items, return_inverse=True)
    seen = ones(user_rows, item_rows, (len(user_ids), len(item_ids)))

    known = np.isin(test_users, user_ids)
    asked_users = np.searchsorted(user_ids, test_users[known])
    all_ids = np.concatenate([item_ids, np.setdiff1d(test_items, item_ids)])
    order = np.argsort(all_ids)
    asked_items = order[np.searchsorted(all_ids, test_items[known], sorter=order)]
    asked = ones(asked_users, asked_items, (len(user_ids), len(all_ids)))
    past = csr_matrix((seen.data, seen.indices, seen.indptr), shape=asked.shape)
    wanted = asked - asked.multiply(past)
    wanted.eliminate_zeros()
    users = np.flatnonzero(np.diff(wanted.indptr))
    shortest_first = np.argsort(np.diff(seen.indptr)[users], kind="stable")
    return Log(seen, wanted.tocsr(), users[shortest_first])


def columns(path: Path) -> tuple[np.ndarray, np.ndarray]:
    table = pq.read_table(path, columns=["user_id", "item_id"])
    return table["user_id"].to_numpy(), table["item_id"].to_numpy()


def ones(rows: np.ndarray, cols: np.ndarray, shape: tuple[int, int]) -> csr_matrix:
    matrix = csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, cols)), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def top(scores: np.ndarray, past: csr_matrix, k: int = K) -> np.ndarray:
    """The k best columns of each row, best first, what is in `past` left out; -1 where there are fewer. Writes into `scores`."""
    rows = np.repeat(np.arange(past.shape[0]), np.diff(past.indptr))
    scores[rows, past.indices] = MASKED
    if scores.shape[1] > k:
        best = np.argpartition(scores, -k, axis=1)[:, -k:]
    else:
        best = np.tile(np.arange(scores.shape[1]), (len(scores), 1))
    values = np.take_along_axis(scores, best, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    lists = np.take_along_axis(best, order, axis=1)
    lists[np.take_along_axis(values, order, axis=1) == MASKED] = -1
    return lists


def metrics(lists: np.ndarray, wanted: csr_matrix, k: int = K) -> tuple[float, float]:
    """Recall@k and NDCG@k, means over the rows. recall = hits / |R|; NDCG = sum of 1 / log2(rank + 1) over the hits, over the
    same sum for min(k, |R|) hits at the top."""
    lists = lists[:, :k]
    width = wanted.shape[1]
    rows = np.repeat(np.arange(len(lists)), np.diff(wanted.indptr))
    answers = np.where(lists < 0, -1, np.arange(len(lists))[:, None] * width + lists)
    hits = np.isin(answers, rows * width + wanted.indices)
    relevant = np.diff(wanted.indptr)
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discount)[np.minimum(relevant, k) - 1]
    gain = hits @ discount[: lists.shape[1]]
    return float((hits.sum(axis=1) / relevant).mean()), float((gain / ideal).mean())


def check(binary: Path | None, scratch: Path) -> None:
    """A log made by hand, ranked by popularity, whose metrics follow from the definitions: `metrics` must give them, and so
    must Aisle where there is a binary. Raises AssertionError with what disagrees."""
    train, test = scratch / "check-train.parquet", scratch / "check-test.parquet"
    histories = {"u1": "p", "u2": "pq", "u3": "pqr", "u4": "pqrs", "u5": "pqrst"}
    write(train, [(user, item) for user, items in histories.items() for item in items])
    # u1 hits ranks 1 and 4; u2 hits rank 2 and asks for the unknown z; u3's p is a repeat, t is at rank 2; u9 is a stranger.
    write(test, [("u1", "q"), ("u1", "t"), ("u2", "s"), ("u2", "z"), ("u3", "p"), ("u3", "t"), ("u9", "p")])
    two, four, ideal = 1 / math.log2(3), 1 / math.log2(5), 1 + 1 / math.log2(3)
    expected = ((1 + 1 / 2 + 1) / 3, ((1 + four) / ideal + two / ideal + two) / 3)

    log = read(train, test)
    popularity = np.tile(np.asarray(log.seen.sum(axis=0)), (len(log.users), 1))
    ours = metrics(top(popularity, log.seen[log.users]), log.wanted[log.users])
    assert np.allclose(ours, expected, atol=1e-9), f"the metrics here give {ours}, by hand {expected}"
    if binary is None:
        return
    out = scratch / "check.json"
    command = [binary, "evaluate", "--train", train, "--test", test, "--algorithm", "popular", "--json", out]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    found = json.loads(out.read_text())
    theirs = (found["metrics"][f"recall@{K}"], found["metrics"][f"ndcg@{K}"])
    assert np.allclose(theirs, expected, atol=1e-9), f"Aisle's metrics give {theirs}, by hand {expected}"
    assert found["queries"] == len(log.users), f"Aisle measured {found['queries']} shoppers, here are {len(log.users)}"


def write(path: Path, pairs: list[tuple[str, str]]) -> None:
    users, items = zip(*pairs)
    pq.write_table(pa.table({"user_id": users, "item_id": items}), path)
