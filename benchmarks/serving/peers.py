"""The servers that are compared: what each needs installed, how it is started, and how one asks it.

Each lives in an environment of its own below `home/peers`, made when it is first asked for; its few lines are in `apps/`
and import nothing of ours. All answer the same trees, from the same file, with one worker.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from errors import NotFound, StackError

APPS = Path(__file__).resolve().parent / "apps"
INSTALL_SECONDS = 900
TREES, HTTP = "lightgbm==4.7.*", ("uvicorn", "uvloop", "httptools")
Rows = Sequence[Sequence[float]]


class Running(NamedTuple):
    """How a server is started and asked."""

    command: list[str]
    path: str
    environment: Mapping[str, str] = MappingProxyType({})


class Peer(NamedTuple):
    """A server to compare with.

    `run` gives the command for an environment, a folder of the peer's own, the file of trees, and a port.
    """

    title: str
    needs: tuple[str, ...]
    run: Callable[[Path, Path, Path, int], Running]
    body: Callable[[Rows], bytes]


def _plain(rows: Rows) -> bytes:
    return json.dumps({"rows": rows}).encode()


def _app(name: str) -> Callable[[Path, Path, Path, int], Running]:
    def run(environment: Path, folder: Path, trees: Path, port: int) -> Running:
        del folder
        return Running([str(environment / "bin" / "python"), str(APPS / name), str(port), str(trees)], "/predict")

    return run


def _kserve(environment: Path, folder: Path, trees: Path, port: int) -> Running:
    return _app("kserve_model.py")(environment, folder, trees, port)._replace(path="/v1/models/ranking:predict")


def _mlserver(environment: Path, folder: Path, trees: Path, port: int) -> Running:
    """Inference in the server's own process, which is its fastest way."""
    folder.mkdir(parents=True, exist_ok=True)
    model = {
        "name": "ranking",
        "implementation": "mlserver_lightgbm.LightGBMModel",
        "parameters": {"uri": str(trees), "version": "v1"},
    }
    own = {"host": "127.0.0.1", "http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    (folder / "model-settings.json").write_text(json.dumps(model))
    (folder / "settings.json").write_text(json.dumps({**own, "parallel_workers": 0, "debug": False}))
    return Running([str(environment / "bin" / "mlserver"), "start", str(folder)], "/v2/models/ranking/infer")


def _bento(environment: Path, folder: Path, trees: Path, port: int) -> Running:
    folder.mkdir(parents=True, exist_ok=True)
    command = [str(environment / "bin" / "bentoml"), "serve", "bento_service:Ranking", "--working-dir", str(APPS)]
    own = {"MODEL": str(trees), "BENTOML_HOME": str(folder), "BENTOML_DO_NOT_TRACK": "True"}
    return Running([*command, "--host", "127.0.0.1", "--port", str(port)], "/predict", own)


def _mlflow(kind: str) -> Callable[[Path, Path, Path, int], Running]:
    def run(environment: Path, folder: Path, trees: Path, port: int) -> Running:
        if not folder.exists():
            save = [str(environment / "bin" / "python"), str(APPS / "mlflow_save.py"), str(trees), str(folder), kind]
            _finished(save, folder.name)
        command = [str(environment / "bin" / "mlflow"), "models", "serve", "-m", str(folder), "--env-manager", "local"]
        return Running([*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"], "/invocations")

    return run


def _tensors(rows: Rows) -> bytes:
    flat = [value for row in rows for value in row]
    inputs = {"name": "rows", "shape": [len(rows), len(rows[0])], "datatype": "FP64", "data": flat}
    return json.dumps({"inputs": [inputs]}).encode()


def _split(rows: Rows) -> bytes:
    columns = [f"Column_{at}" for at in range(len(rows[0]))]
    return json.dumps({"dataframe_split": {"columns": columns, "data": rows}}).encode()


PEERS: dict[str, Peer] = {
    "floor": Peer("uvicorn, constant reply", HTTP, _app("floor.py"), _plain),
    "bare": Peer("uvicorn + msgspec + Booster", (*HTTP, "msgspec", TREES), _app("bare.py"), _plain),
    "fastapi": Peer("FastAPI + pydantic", (*HTTP, "fastapi", TREES), _app("fastapi_pydantic.py"), _plain),
    "litestar": Peer("litestar + msgspec", (*HTTP, "litestar", TREES), _app("litestar_msgspec.py"), _plain),
    "kserve": Peer(
        "KServe", ("kserve", TREES), _kserve, lambda rows: json.dumps({"instances": rows}).encode()
    ),
    "mlserver": Peer("MLServer", ("mlserver", "mlserver-lightgbm", "lightgbm"), _mlserver, _tensors),
    "litserve": Peer("LitServe", ("litserve", TREES), _app("litserve_api.py"), _plain),
    "bentoml": Peer("BentoML", ("bentoml", TREES), _bento, _plain),
    "mlflow": Peer(
        "mlflow models serve, no signature",
        ("mlflow==3.17.*", TREES),
        _mlflow("plain"),
        lambda rows: json.dumps({"inputs": rows}).encode(),
    ),
    "mlflow-signed": Peer(
        "mlflow models serve, as documented", ("mlflow==3.17.*", TREES), _mlflow("signed"), _split
    ),
}  # fmt: skip


def chosen(names: Sequence[str]) -> dict[str, Peer]:
    """The peers named, or all. Raises NotFound."""
    unknown = sorted(set(names) - PEERS.keys())
    if unknown:
        raise NotFound(f"peer {unknown[0]!r}", expected=f"one of {[*PEERS]}")
    return {name: peer for name, peer in PEERS.items() if not names or name in names}


def installed(peer: Peer, cache: Path) -> Path:
    """The peer's environment, made when it is not there. Peers that need the same share one.

    Raises:
        StackError: with the end of what the installer said.
    """
    environment = cache / hashlib.sha256(json.dumps([sys.version, *peer.needs]).encode()).hexdigest()[:12]
    done = environment / "installed"
    if not done.exists():
        _finished([sys.executable, "-m", "venv", "--clear", str(environment)], peer.title)
        _finished(
            [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-compile", *peer.needs],
            peer.title,
        )
        done.write_text("\n".join(peer.needs))
    return environment


def version(environment: Path, peer: Peer) -> str:
    """What was installed of the first package that the peer needs and not all have."""
    package = next((need for need in peer.needs if need not in HTTP), HTTP[0]).split("==")[0]
    asked = f"import importlib.metadata as m; print(m.version({package!r}))"
    return f"{package} {_finished([str(environment / 'bin' / 'python'), '-c', asked], peer.title).strip()}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment() -> dict[str, str]:
    """The process's own variables without those that lead to our code or keep byte code from being kept."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "GROWNET_", "MLFLOW_"))}


def _finished(command: list[str], what: str) -> str:
    try:
        done = subprocess.run(
            command, env=clean_environment(), capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StackError(what, expected="to be installed", got=str(error)[-600:]) from error
    if done.returncode != 0:
        raise StackError(what, expected="to be installed", got=(done.stdout + done.stderr)[-600:])
    return done.stdout
