"""KServe's own Python server, without a cluster. `kserve_model.py PORT MODEL`."""

import sys

import lightgbm
import numpy as np
from kserve import Model, ModelServer


class Ranking(Model):
    def __init__(self):
        super().__init__("ranking")
        self.booster = lightgbm.Booster(model_file=sys.argv[2])
        self.ready = True

    def predict(self, payload, headers=None):
        rows = np.array(payload["instances"])
        return {"predictions": self.booster.predict(rows, num_threads=1).tolist()}


if __name__ == "__main__":
    ModelServer(http_port=int(sys.argv[1]), enable_grpc=False, workers=1, access_log_format=None).start([Ranking()])
