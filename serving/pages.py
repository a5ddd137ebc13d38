"""The OpenAPI document and the page that shows it: `/openapi.json`, `/docs`. Everything the page needs comes from here.

Swagger UI's own files are those of the package `flask_swagger_ui`, which is not imported. No key is asked: there are types in
it, no data. Routed by `serving.rest`.
"""

from __future__ import annotations

import asyncio
from importlib import metadata, util
from pathlib import Path

from errors import NotFound
from serving.calls import HEADERS, Call, Headers, Route, Sent
from serving.openapi import document
from serving.service import Service
from serving.wire import Refusal

HTML, SCRIPT, STYLE, PNG = b"text/html; charset=utf-8", b"text/javascript; charset=utf-8", b"text/css", b"image/png"
FILES = {"swagger-ui.css": STYLE, "swagger-ui-bundle.js": SCRIPT, "favicon-32x32.png": PNG}
PAGE = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>grownet</title>
<link rel="icon" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="page"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
START = b"""SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#page", deepLinking: true, docExpansion: "list",
  defaultModelsExpandDepth: 0, tryItOutEnabled: false, validatorUrl: null, persistAuthorization: false,
});
"""
# styles: Swagger UI writes some into its elements; images: its icons are within its style sheet
POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ALWAYS: Headers = tuple((name, POLICY if name == b"content-security-policy" else value) for name, value in HEADERS)
KEPT: Headers = tuple((name, b"max-age=3600" if name == b"cache-control" else value) for name, value in ALWAYS)


class Pages:
    """The two paths and the files of the page."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._document = b""

    def find(self, parts: list[str]) -> Route | None:
        match parts:
            case ["openapi.json"]:
                return Route("openapi", "GET", self._openapi)
            case ["docs"] | ["docs", ""]:
                return Route("docs", "GET", self._page)
            case ["docs", name] if name in FILES or name == "start.js":
                return Route("docs", "GET", self._file, model=name)
        return None

    async def _openapi(self, _: Call) -> Sent:
        if not self._document:  # some milliseconds, once
            self._document = await asyncio.to_thread(self._made)
        return Sent(200, self._document)

    def _made(self) -> bytes:
        desks = self._service.desks
        models = {name: (desk.model, desk.config.serving.max_batch_rows) for name, desk in desks.items()}
        return document(models, metadata.version("grownet"))

    async def _page(self, _: Call) -> Sent:
        return Sent(200, PAGE, HTML, always=ALWAYS)

    async def _file(self, call: Call) -> Sent:
        if call.model == "start.js":
            return Sent(200, START, SCRIPT, always=KEPT)
        return Sent(200, await asyncio.to_thread(_content, call.model), FILES[call.model], always=KEPT)


def _content(name: str) -> bytes:
    """A file of Swagger UI. Raises Refusal 404 when the package is not there."""
    found = util.find_spec("flask_swagger_ui")  # finds a package's folder without importing it, and so Flask
    if found is None or found.origin is None:
        do = "install flask-swagger-ui, or read /openapi.json"
        raise Refusal(404, NotFound("page", expected="the files of Swagger UI", got="none", do=do))
    return (Path(found.origin).parent / "dist" / name).read_bytes()
