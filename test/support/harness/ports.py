"""Free TCP ports of 127.0.0.1. No port is handed out twice in one run, so that a restarted server finds its own again."""
import socket

HOST = "127.0.0.1"
_given = set()


def free_port():
    return free_ports(1)[0]


def free_ports(count):
    found, sockets = [], []
    try:
        while len(found) < count:
            s = socket.socket()
            sockets.append(s)
            s.bind((HOST, 0))
            port = s.getsockname()[1]
            if port not in _given:
                _given.add(port)
                found.append(port)
    finally:
        for s in sockets:
            s.close()
    return found
