from __future__ import annotations

import socket

import pytest

from glow_deploy.kserve.whole_time import WholeTime


class Connection:
    sock = None


def test_whoever_reads_finds_the_end():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connection, time = Connection(), WholeTime()
        connection.sock = ours
        time.holds(connection)
        theirs.sendall(b"x")
        assert ours.recv(1) == b"x"
        time.end()
        assert time.over
        assert ours.recv(1) == b""


def test_a_connection_that_is_made_too_late_is_not_used():
    time = WholeTime()
    time.holds(Connection())
    time.end()  # no socket yet
    with pytest.raises(TimeoutError):
        time.holds(Connection())
