"""FastAPI with pydantic models, as its tutorial has it. `fastapi_pydantic.py PORT MODEL`."""

import sys

import lightgbm
import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

booster = lightgbm.Booster(model_file=sys.argv[2])
app = FastAPI()


class Request(BaseModel):
    rows: list[list[float]]


class Reply(BaseModel):
    scores: list[float]


@app.post("/predict")
def predict(request: Request) -> Reply:
    return Reply(scores=booster.predict(np.array(request.rows), num_threads=1).tolist())


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), http="httptools", loop="uvloop", access_log=False)
