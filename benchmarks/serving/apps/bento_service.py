"""A BentoML service; `bentoml serve` runs it. The model's file is named by MODEL."""

import os

import bentoml
import lightgbm
import numpy as np


@bentoml.service(workers=1, metrics={"enabled": False})
class Ranking:
    def __init__(self) -> None:
        self.booster = lightgbm.Booster(model_file=os.environ["MODEL"])

    @bentoml.api
    def predict(self, rows: list[list[float]]) -> list[float]:
        return self.booster.predict(np.array(rows), num_threads=1).tolist()
