"""Two demos on one machine do not take each other's ports, though Airflow binds them late."""

from __future__ import annotations

import socket

from perennial.demo.ports import Ports

FIRST = 18080


def test_a_reserved_port_is_not_given_twice_though_nothing_listens_on_it():
    one, other = Ports(), Ports()
    try:
        taken = {one.reserve(FIRST), one.reserve(FIRST), other.reserve(FIRST)}
        assert len(taken) == 3
    finally:
        one.release()
        other.release()


def test_a_port_that_someone_listens_on_is_passed_over_and_a_released_one_is_given_again():
    ports = Ports()
    try:
        port = ports.reserve(FIRST)
        ports.release()
        assert ports.reserve(FIRST) == port
        ports.release()
        with socket.socket() as server:
            server.bind(("127.0.0.1", port))
            server.listen()
            assert ports.reserve(FIRST) > port
    finally:
        ports.release()
