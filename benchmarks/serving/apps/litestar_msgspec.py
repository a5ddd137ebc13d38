"""Litestar with msgspec structs, in its thread pool as it recommends for what computes. `litestar_msgspec.py PORT MODEL`."""

import sys

import lightgbm
import msgspec
import numpy as np
import uvicorn
from litestar import Litestar, post

booster = lightgbm.Booster(model_file=sys.argv[2])


class Request(msgspec.Struct):
    rows: list[list[float]]


class Reply(msgspec.Struct):
    scores: list[float]


@post("/predict", sync_to_thread=True, status_code=200)
def predict(data: Request) -> Reply:
    return Reply(scores=booster.predict(np.array(data.rows), num_threads=1).tolist())


app = Litestar([predict])
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), http="httptools", loop="uvloop", access_log=False)
