"""TLS by configuration: a real service, a certificate of our own making, and a new one while it runs."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import sys
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from configs import load as loading
from errors import ConfigError
from serving.grpc_face import Face
from serving.grpc_messages import SERVICE, TYPES
from serving.tls import Certificate, certificate_of
from tests.ports import free_port
from tests.serving.inside import inside
from tests.serving.town import NAME, ROOT, Town, wait_for


class Authority:
    """A certificate authority for one test."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.key = folder, ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority")])
        self.path = folder / "ca.pem"
        made = self._signed(self.name, self.key, [(x509.BasicConstraints(ca=True, path_length=None), True)])
        self.path.write_bytes(made.public_bytes(Encoding.PEM))

    def issue(self, name: str) -> tuple[Path, Path]:
        """The files of a new certificate for 127.0.0.1, and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        made = self._signed(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key, [(address, False)])
        cert_path, key_path = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        cert_path.write_bytes(made.public_bytes(Encoding.PEM))
        key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return cert_path, key_path

    def _signed(self, subject: x509.Name, key: Any, extensions: list[tuple[Any, bool]]) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(self.name, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        for extension, critical in [
            *extensions,
            (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
            (identifier, False),
        ]:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, hashes.SHA256())


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(authority: Authority) -> None:
    cert, key = authority.issue("locked")
    made = load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    with pytest.raises(ConfigError, match="without a password"):
        Certificate(cert, key, None)


def talk(authority: Authority, client: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    """A client's context that trusts the authority, with a certificate of its own when one is given."""
    context = ssl.create_default_context(cafile=authority.path)
    if client:
        context.load_cert_chain(*client)
    return context


def only(version: ssl.TLSVersion, authority: Authority) -> ssl.SSLContext:
    """A client that knows one version of TLS, and would speak it however weak."""
    context = talk(authority, authority.issue(version.name))
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # an old one, that is the point
        context.minimum_version = context.maximum_version = version
    return context


def subject(port: int, context: ssl.SSLContext) -> str:
    """Who the service on this port says it is."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1") as wrapped,
    ):
        names: Any = wrapped.getpeercert()
    return str(names["subject"][0][0][1])


@pytest.fixture
def serving(town: Town, authority: Authority, tmp_path: Path) -> Iterator[tuple[int, Path, Path]]:
    """A service with TLS that asks for client certificates: its port, and the files it reads."""
    cert, key = tmp_path / "tls.pem", tmp_path / "tls.key"
    for path, source in zip((cert, key), authority.issue("first"), strict=True):
        path.write_bytes(source.read_bytes())
    log = tmp_path / "serve.log"
    variables = {"CERT": cert, "KEY": key, "CLIENT_CA": authority.path}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "grownet", "serve", "--port", "0"], stderr=out, stdout=out, cwd=ROOT,
            env={**os.environ, **town.environment, **{f"GROWNET_TLS_{name}": str(path) for name, path in variables.items()}},
        )  # fmt: skip
    try:
        wait_for(lambda: " on https://" in log.read_text() or process.poll() is not None, 60)
        port = int(log.read_text().split(" on https://127.0.0.1:")[1].split()[0])
        yield port, cert, key
        process.terminate()
        assert process.wait(timeout=30) == 0, log.read_text()
        assert "Traceback" not in log.read_text()
    finally:
        process.kill()
        process.wait()


def test_a_service_with_tls_and_a_new_certificate_while_it_runs(
    town: Town, authority: Authority, serving: tuple[int, Path, Path]
) -> None:
    port, cert, key = serving
    context = talk(authority, authority.issue("client"))
    with httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=context, timeout=10) as client:
        wait_for(lambda: client.get("/readyz").status_code == 200, 30)
        secret = town.key()
        wait_for(
            lambda: (
                client.post(f"/{NAME}/predict", json={}, headers={"authorization": f"Bearer {secret}"}).status_code
                == 200
            )
        )
        assert client.get("/healthz").headers["strict-transport-security"] == "max-age=31536000"

        with pytest.raises(httpx.HTTPError):  # without a client certificate
            httpx.get(f"https://127.0.0.1:{port}/healthz", verify=talk(authority), timeout=10)
        assert subject(port, only(ssl.TLSVersion.TLSv1_2, authority)) == "first"
        with pytest.raises(ssl.SSLError):
            subject(port, only(ssl.TLSVersion.TLSv1_1, authority))
        with pytest.raises(httpx.HTTPError):  # plain text
            httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=10)

        assert subject(port, context) == "first"
        other_cert, other_key = authority.issue("second")
        key.write_bytes(other_key.read_bytes())  # does not fit the certificate yet: the old pair stays
        assert subject(port, context) == "first"
        cert.write_bytes(other_cert.read_bytes())
        wait_for(lambda: subject(port, context) == "second")
        assert client.get("/healthz").status_code == 200  # the connection that was open goes on


def test_a_pair_that_does_not_belong_together_is_refused_and_later_ignored(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = authority.issue("one")
    with pytest.raises(ConfigError, match="belong together"):
        Certificate(cert, authority.issue("two")[1], None)
    with pytest.raises(ConfigError, match="GROWNET_TLS_CERT"):
        Certificate(tmp_path / "none", key, None)
    held = Certificate(cert, key, None)
    assert held.context.minimum_version == ssl.TLSVersion.TLSv1_2
    key.write_text("no key")
    for _ in range(2):
        held.look()
    assert caplog.text.count("the old one stays") == 1


def test_half_a_configuration_is_refused() -> None:
    assert certificate_of(loading.settings({})) is None
    for given in ({"CERT": "a"}, {"KEY": "a"}, {"CLIENT_CA": "a"}):
        with pytest.raises(ConfigError, match="go together"):
            loading.settings({f"GROWNET_TLS_{name}": value for name, value in given.items()})


def test_grpc_has_the_same_certificate_and_takes_up_a_new_one(town: Town, authority: Authority, tmp_path: Path) -> None:
    files = {name: (tmp_path / f"{name}.pem") for name in ("cert", "key")}
    for path, source in zip(files.values(), authority.issue("one"), strict=True):
        path.write_bytes(source.read_bytes())
    held = Certificate(files["cert"], files["key"], authority.path)
    port = free_port()
    with inside(town) as service:
        face = Face(service.app.protocol, service.service.house, ("127.0.0.1", port), certificate=held)

        def do(work: Any) -> None:
            asyncio.run_coroutine_threadsafe(work, service.loop).result(timeout=30)

        do(face.start())
        context = talk(authority, authority.issue("caller"))
        context.set_alpn_protocols(["h2"])
        assert live(port, authority, authority.issue("caller"))
        assert subject(port, context) == "one"
        with pytest.raises(grpc.RpcError):
            live(port, authority, None)
        for path, source in zip(files.values(), authority.issue("other"), strict=True):
            path.write_bytes(source.read_bytes())
        held.look()
        assert subject(port, context) == "other"
        do(face.stop())


def live(port: int, authority: Authority, client: tuple[Path, Path] | None) -> bool:
    """Asks over gRPC, with a certificate of the client's own or without."""
    key, chain = (client[1].read_bytes(), client[0].read_bytes()) if client else (None, None)
    credentials = grpc.ssl_channel_credentials(authority.path.read_bytes(), key, chain)
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
        reply = channel.unary_unary(f"/{SERVICE}/ServerLive")(b"", timeout=10)
    return bool(TYPES["ServerLiveResponse"].FromString(reply).live)
