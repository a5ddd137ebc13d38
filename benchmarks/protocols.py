"""CPU of the service per request, by protocol: JSON, Arrow, Open Inference Protocol over HTTP (JSON, raw tensors) and gRPC.

The same requests to the same running replica with a model that costs next to nothing (`segmentation`), so that what differs is
the protocol. Alternating rounds; the figure is the median of the rounds' CPU time of the server process per request, less what it needs idle.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import httpx
import psutil
import pyarrow as pa

from benchmarks import bundled
from benchmarks.server import Server, wait_for
from benchmarks.stand import Lesson, Stand
from serving import arrow
from serving.grpc_messages import SERVICE, TYPES
from serving.oip_routes import HEAD
from serving.tensors import Tensor, pack
from stores.vault import Vault

MODEL, AS_OF = "segmentation", datetime(2011, 9, 1, tzinfo=UTC)
ROUNDS, IDLE_SECONDS = 5, 4.0
CALLS = {0: 600, 1: 600, 100: 60}  # per round, by rows of a request; without any it asks whether the service is alive


class Case(NamedTuple):
    protocol: str
    rows: int
    call: Callable[[], Any]


def main(argv: list[str]) -> None:
    """`grownet bench protocols [--json]`."""
    parser = argparse.ArgumentParser(prog="grownet bench protocols", description=__doc__)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        stand = Stand(Path(folder), Lesson(MODEL, _tables, AS_OF))
        stand.released(1)
        server = Server(stand, "--grpc-port", "0").ready()
        try:
            figures = measure(server, stand.key("predict"))
        finally:
            server.stop()
            stand.close()
    print(json.dumps(figures) if chosen.json else _table(figures))


def measure(server: Server, key: str) -> list[dict[str, Any]]:
    """CPU microseconds of the server per request, for each case."""
    process = psutil.Process(server.process.pid)
    headers = {"authorization": f"Bearer {key}"}
    address = server.lines.split("answers gRPC on ")[1].split()[0]
    wait_for(lambda: server.ask(key, {"customer": "1"}).status_code == 200)
    with httpx.Client(base_url=server.url, headers=headers) as http, grpc.insecure_channel(address) as channel:
        infer = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        alive, live = channel.unary_unary(f"/{SERVICE}/ServerLive"), TYPES["ServerLiveRequest"]().SerializeToString()
        cases = [Case("HTTP", 0, lambda: http.get("/v2/health/live")), Case("gRPC", 0, lambda: alive(live))]
        cases += [case for rows in CALLS if rows for case in _cases(http, infer, key, rows)]
        for case in cases:
            _spent(process, case, 20)  # warm
        idle = _spent(process, Case("", 0, lambda: time.sleep(IDLE_SECONDS)), 1)[0] / IDLE_SECONDS
        spent: list[list[float]] = [[] for _ in cases]
        for _ in range(ROUNDS):
            for case, seconds in zip(cases, spent, strict=True):
                used, took = _spent(process, case, CALLS[case.rows])
                seconds.append((used - idle * took) / CALLS[case.rows])
    return [
        {"protocol": case.protocol, "rows": case.rows, "cpu_us": round(1e6 * statistics.median(seconds), 1)}
        for case, seconds in zip(cases, spent, strict=True)
    ]


def _spent(process: psutil.Process, case: Case, calls: int) -> tuple[float, float]:
    """CPU seconds of the service for so many calls, and the time that went by."""
    before, begun = sum(process.cpu_times()[:2]), time.monotonic()
    for _ in range(calls):
        case.call()
    return sum(process.cpu_times()[:2]) - before, time.monotonic() - begun


def _cases(http: httpx.Client, infer: Any, key: str, rows: int) -> list[Case]:
    customers = [str(12000 + number) for number in range(rows)]
    tensor = Tensor("customer", "BYTES", [rows], customers)
    about: dict[str, Any] = {"name": "customer", "datatype": "BYTES", "shape": [rows]}
    one = json.dumps(
        {"requests": [{"customer": name} for name in customers]} if rows > 1 else {"customer": customers[0]}
    )
    raw = pack(tensor)
    binary = {"inputs": [{**about, "parameters": {"binary_data_size": len(raw)}}], "parameters": {"binary_data_output": True}}  # fmt: skip
    head = json.dumps(binary).encode()
    message = TYPES["ModelInferRequest"](
        model_name=MODEL, inputs=[TYPES["InferTensor"](**about)], raw_input_contents=[raw]
    ).SerializeToString()
    own, theirs = f"/{MODEL}/predict", f"/v2/models/{MODEL}/infer"
    stream = {"content-type": arrow.KIND.decode(), "accept": arrow.KIND.decode()}
    length = {HEAD.decode(): str(len(head))}

    def post(path: str, body: bytes, **headers: str) -> None:
        http.post(path, content=body, headers=headers).raise_for_status()

    return [
        Case("JSON", rows, lambda: post(own, one.encode())),
        Case("Arrow", rows, lambda: post(own, _stream(customers), **stream)),
        Case("v2 over HTTP, JSON", rows, lambda: post(theirs, json.dumps({"inputs": [{**about, "data": customers}]}).encode())),
        Case("v2 over HTTP, raw tensors", rows, lambda: post(theirs, head + raw, **length)),
        Case("v2 over gRPC", rows, lambda: infer(message, metadata=[("authorization", f"Bearer {key}")])),
    ]  # fmt: skip


def _stream(customers: list[str]) -> bytes:
    table = pa.table({"customer": customers})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]  # pyarrow has no types


def _tables(vault: Vault) -> dict[str, Any]:
    """The bundled orders, their customers under this vault's pseudonyms."""
    frames = {name: frame.copy() for name, frame in bundled(MODEL).items()}
    for frame in frames.values():
        frame["customer_id"] = vault.pseudonyms(frame["customer_id"])
    return frames


def _table(figures: list[dict[str, Any]]) -> str:
    lines = ["| protocol | rows | CPU us per request |", "|---|---|---|"]
    return "\n".join(lines + [f"| {one['protocol']} | {one['rows']} | {one['cpu_us']:,.0f} |" for one in figures])
