"""Ports for tests that must name one before anybody listens there.

A port that the system gave and got back may be given to another test in between. These lie below the range that the
system gives from, and no two calls on a machine share one: each process counts on from a place of its own.
"""

from __future__ import annotations

import os
from itertools import count

from stack.ports import free

FIRST, MANY = 20_000, 12_000  # the system gives from 32768 on
EACH = 64  # of a process, before it comes to those of the next
_next = count(os.getpid() * EACH)


def free_port() -> int:
    """One where nobody listens, and that nobody is given."""
    return next(port for at in _next if free(port := FIRST + at % MANY))
