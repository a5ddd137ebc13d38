"""uvicorn and a constant reply: what a request costs before anybody looks at it. `floor.py PORT`."""

import sys

import uvicorn

BODY = b'{"scores":[0.5]}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]


async def app(scope, receive, send):
    if scope["type"] == "http":
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": BODY})


uvicorn.run(
    app, host="127.0.0.1", port=int(sys.argv[1]), http="httptools", loop="uvloop", lifespan="off", access_log=False
)
