"""LitServe with one worker on the CPU. `litserve_api.py PORT MODEL`."""

import sys

import lightgbm
import litserve
import numpy as np


class Api(litserve.LitAPI):
    def setup(self, device):
        self.booster = lightgbm.Booster(model_file=sys.argv[2])

    def decode_request(self, request):
        return np.array(request["rows"])

    def predict(self, rows):
        return self.booster.predict(rows, num_threads=1)

    def encode_response(self, scores):
        return {"scores": scores.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Api(), accelerator="cpu", devices=1, workers_per_device=1)
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, log_level="warning", generate_client_file=False
    )
