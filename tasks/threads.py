"""Keeps the numeric libraries within GROWNET_THREADS: those loaded already, and those that are loaded meanwhile.

With one thread the same input gives the same bytes on every machine; more may round sums differently.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # read when a library is loaded


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """At most this many threads in each BLAS and OpenMP pool while the block runs."""
    before = {name: os.environ.get(name) for name in VARIABLES}
    os.environ.update(dict.fromkeys(VARIABLES, str(threads)))
    try:
        with threadpool_limits(limits=threads):
            yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
