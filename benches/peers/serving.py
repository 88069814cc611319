"""The same recommendations from Python: implicit behind grpcio, to be asked by aisle-load as aisle-serve is.

    target/peers-venv/bin/pip install grpcio==1.85.1 grpcio-tools==1.85.1
    target/peers-venv/bin/python benches/peers/serving.py FOLDER-OF-A-VERSION --listen 127.0.0.1:7000
    target/release/aisle-load --target 127.0.0.1:7000 --registry REGISTRY --model MODEL steady --only RecommendForUser

It answers RecommendForUser from the als vectors of the version, as a backend engineer would write it: masks for category, price and what
was bought, implicit's own top k, titles and prices beside it. It gives no reasons; aisle-serve is asked without them to compare.
"""

import argparse
import sys
import tempfile
from concurrent import futures
from pathlib import Path

import grpc
import grpc_tools
import numpy as np
import pyarrow.parquet as pq
from grpc_tools import protoc
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix

from retrieval import tensors

PROTO = Path(__file__).resolve().parents[2] / "proto"


def contract():
    """The messages, compiled from Aisle's own contract."""
    out = tempfile.mkdtemp()
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    files = [f"aisle/v1/{name}.proto" for name in ("common", "recommendation")]
    if protoc.main(["protoc", f"-I{PROTO}", f"-I{well_known}", f"--python_out={out}", *files]):
        sys.exit("the contract does not compile")
    sys.path.insert(0, out)
    from aisle.v1 import recommendation_pb2

    return recommendation_pb2


class Shop:
    """What a version knows, as NumPy arrays."""

    def __init__(self, folder: Path, messages):
        self.messages = messages
        arrays = tensors(folder)
        items, users = pq.read_table(folder / "items.parquet"), pq.read_table(folder / "users.parquet")
        column = lambda name, other: items[name].to_pylist() if name in items.column_names else [other] * items.num_rows
        self.ids, self.titles, self.paths = column("item_id", ""), column("title", ""), column("category", "")
        self.currencies = column("currency", "")
        self.prices = np.array([np.nan if price is None else price for price in column("price", None)], dtype=np.float32)
        self.available = np.array(column("available", True), dtype=bool)
        self.users = {user: row for row, user in enumerate(users["user_id"].to_pylist())}
        size = len(self.ids)
        rows = lambda name: csr_matrix(
            (np.ones(len(arrays[f"{name}.items"]), dtype=np.float32), arrays[f"{name}.items"].astype(int), arrays[f"{name}.offsets"].astype(int)),
            shape=(len(self.users), size),
        )
        self.bought = rows("bought")
        self.model = AlternatingLeastSquares(factors=arrays["als.item_factors"].shape[1], num_threads=1)
        self.model.item_factors, self.model.user_factors = arrays["als.item_factors"], arrays["als.user_factors"]
        self.trained = (self.model.item_factors != 0).any(axis=1)
        # Made once, as aisle-serve makes its sets.
        self.below = {}
        for item, path in enumerate(self.paths):
            parts = (path or "").split(" > ")
            for level in range(1, len(parts) + 1):
                self.below.setdefault(" > ".join(parts[:level]), []).append(item)
        self.below = {path: np.array(found) for path, found in self.below.items()}

    def recommend(self, request, context):
        options = request.options
        allowed = self.available & self.trained
        for path in options.filter.exclude_categories:
            allowed[self.below.get(path, [])] = False
        if options.filter.HasField("max_price"):
            most = options.filter.max_price
            allowed &= self.prices <= most.units + most.nanos / 1e9
        user = self.users[options.user_id]
        bought = self.bought[user]
        found, scores = self.model.recommend(
            user, bought, N=options.page_size, filter_already_liked_items=request.exclude_purchased, filter_items=np.flatnonzero(~allowed)
        )
        answer = self.messages.RecommendResponse()
        for rank, (item, score) in enumerate(zip(found, scores), 1):
            row = answer.items.add(item_id=self.ids[item], rank=rank, score=score, title=self.titles[item] or "", category=self.paths[item] or "")
            if not np.isnan(self.prices[item]):
                row.price.currency_code = self.currencies[item] or ""
                row.price.units, row.price.nanos = int(self.prices[item]), round(float(self.prices[item]) % 1 * 1e9)
        allowed[bought.indices] = False
        answer.serving.eligible_count, answer.serving.model_version = int(allowed.sum()), "python"
        return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", type=Path)
    parser.add_argument("--listen", default="127.0.0.1:7000")
    args = parser.parse_args()
    messages = contract()
    shop = Shop(args.version, messages)
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    own = grpc.unary_unary_rpc_method_handler(
        shop.recommend,
        request_deserializer=messages.RecommendForUserRequest.FromString,
        response_serializer=messages.RecommendResponse.SerializeToString,
    )
    # SERVING, whatever is asked.
    health = grpc.unary_unary_rpc_method_handler(lambda request, context: b"\x08\x01")
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler("aisle.v1.RecommendationService", {"RecommendForUser": own}),
            grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": health}),
        )
    )
    server.add_insecure_port(args.listen)
    server.start()
    print("listening", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
