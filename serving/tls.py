"""TLS for clients: TLS 1.2 or newer, by the files that GROWNET_TLS_CERT, _KEY and _CLIENT_CA name.

A new certificate is taken up within a second, for new connections, without a restart; one that does not fit its key is
refused, and the old one stays. The client CA is read at the start only.
"""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import NamedTuple

from configs.schema import Settings
from errors import ConfigError

log = logging.getLogger(__name__)
HSTS = ("strict-transport-security", "max-age=31536000")
Stamps = tuple[tuple[int, int], ...]


class Pem(NamedTuple):
    """What is in the files, for gRPC, whose TLS is its own."""

    key: bytes
    chain: bytes
    client_ca: bytes | None


class Certificate:
    """Certificate and key, and the context that has them. `pem` is another object when they were taken up anew.

    Raises:
        ConfigError: when they cannot be read, or do not belong together.
    """

    def __init__(self, cert: Path, key: Path, client_ca: Path | None) -> None:
        self._cert, self._key = cert, key
        self._stamps = self._seen()
        try:
            self.context = _context()
            self.context.load_cert_chain(cert, key, _unasked)
            if client_ca is not None:
                self.context.load_verify_locations(client_ca)
                self.context.verify_mode = ssl.CERT_REQUIRED
            self._client_ca = client_ca.read_bytes() if client_ca is not None else None
            self.pem = self._read()
        except (OSError, ssl.SSLError) as error:
            names = "GROWNET_TLS_CERT, GROWNET_TLS_KEY, GROWNET_TLS_CLIENT_CA"
            raise ConfigError([f"{names}: expected PEM files that belong together, got {error}"]) from error

    def look(self) -> None:
        """Takes up other files than before."""
        stamps = self._seen()
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            _context().load_cert_chain(self._cert, self._key, _unasked)  # first where it can do no harm
            self.context.load_cert_chain(self._cert, self._key, _unasked)
            self.pem = self._read()
        except (OSError, ssl.SSLError) as error:
            log.error("TLS certificate %s not taken up, the old one stays: %s", self._cert, error)
        else:
            log.info("TLS certificate %s taken up", self._cert)

    def _read(self) -> Pem:
        return Pem(self._key.read_bytes(), self._cert.read_bytes(), self._client_ca)

    def _seen(self) -> Stamps:
        return tuple(_stamp(path) for path in (self._cert, self._key))


def certificate_of(settings: Settings) -> Certificate | None:
    """What the settings name; None without TLS. Raises ConfigError."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return Certificate(settings.tls_cert, settings.tls_key, settings.tls_client_ca)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _unasked() -> str:
    """For a key that is encrypted: OpenSSL would ask for its password at the terminal, and the loop would wait for it."""
    raise ssl.SSLError("the key is encrypted; give it without a password, readable by this user only")


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_ino)
