"""Ports on loopback: a free one, and who listens on one."""

from __future__ import annotations

import socket

import psutil

from stack.programs import HOST


def free_port(preferred: int = 0) -> int:
    """`preferred` when it is free on loopback, else any free port. It may be taken before it is used."""
    if preferred and free(preferred):
        return preferred
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def free(port: int) -> bool:
    """True when nobody listens there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def listens(pid: int, port: int) -> bool:
    """True when this process, or one that it started, listens on the port, and not somebody else who answered there."""
    try:
        leader = psutil.Process(pid)
        family = [leader, *leader.children(recursive=True)]
        return any(
            connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
            for process in family
            for connection in process.net_connections(kind="tcp")
        )
    except psutil.NoSuchProcess:
        return False
