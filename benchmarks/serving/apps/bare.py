"""uvicorn, msgspec and `Booster.predict`, and nothing else: no key, no journal, no metrics, no deadline. `bare.py PORT MODEL`."""

import sys

import lightgbm
import msgspec
import numpy as np
import uvicorn

booster = lightgbm.Booster(model_file=sys.argv[2])


class Request(msgspec.Struct):
    rows: list[list[float]]


decode, encode = msgspec.json.Decoder(Request).decode, msgspec.json.Encoder().encode


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    message = await receive()
    body = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    rows = np.array(decode(body).rows)
    reply = encode({"scores": booster.predict(rows, num_threads=1).tolist()})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(reply)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": reply})


uvicorn.run(
    app, host="127.0.0.1", port=int(sys.argv[1]), http="httptools", loop="uvloop", lifespan="off", access_log=False
)
