"""A proxy for TCP that cuts what goes through it at the Nth byte."""

import selectors
import socket
import struct
import threading

PIECE = 16384
ABORT = struct.pack("ii", 1, 0)  # SO_LINGER: close at once, with a reset


class Proxy:
    """Passes connections on to a port of this machine. At the byte cut_at, counted over all of them
    and both ways, every connection is reset; later ones pass."""

    def __init__(self, port, cut_at=None):
        self._target, self._cut_at = port, cut_at
        self.passed = 0
        self.was_cut = False
        self._selector = selectors.DefaultSelector()
        self._other = {}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._waker, waker = socket.socketpair()
        self._selector.register(waker, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._connect()
                elif key.fileobj in self._other:
                    self._pass(key.fileobj)
                elif key.fileobj.type == socket.SOCK_STREAM and key.fileobj.family == socket.AF_UNIX:
                    return

    def _connect(self):
        client, _ = self._listener.accept()
        server = socket.create_connection(("127.0.0.1", self._target))
        for one, other in ((client, server), (server, client)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._other[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _pass(self, sender):
        try:
            piece = sender.recv(PIECE)
            if self._cut_at and not self.was_cut and self.passed + len(piece) >= self._cut_at:
                self._other[sender].sendall(piece[:self._cut_at - self.passed])
                self.was_cut = True
                for one in list(self._other):
                    self._drop(one, abort=True)
                return
            self._other[sender].sendall(piece)
        except OSError:
            piece = b""
        self.passed += len(piece)
        if not piece:
            other = self._other[sender]
            self._drop(sender)
            self._drop(other)

    def _drop(self, one, abort=False):
        if self._other.pop(one, None):
            self._selector.unregister(one)
            if abort:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
            one.close()

    def close(self):
        self._waker.close()
        self._thread.join()
        for one in list(self._other):
            self._drop(one)
        self._listener.close()
        self._selector.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
