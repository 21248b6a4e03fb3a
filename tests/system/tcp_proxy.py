"""A TCP proxy in this process that can be told to misbehave, for outages between two servers."""

import socket
import threading
from contextlib import suppress

GARBAGE = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello"


class TcpProxy:
    """Forwards connections in turn; `mode` is one of forward, refuse, hang, garbage."""

    def __init__(self, *target_ports: int) -> None:
        self.mode = "forward"
        self.connections = 0
        self._targets = list(target_ports)
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def switch(self, mode: str) -> None:
        """Change the behaviour, and cut what is under way."""
        self.mode = mode
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._open.clear()

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()
        self.switch("refuse")

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(client)
            if self.mode == "refuse":
                client.close()
            elif self.mode == "garbage":
                threading.Thread(target=self._answer_garbage, args=(client,), daemon=True).start()
            elif self.mode == "forward":
                server = self._connect()
                if server is None:
                    client.close()
                    continue
                self._open.append(server)
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _connect(self) -> socket.socket | None:
        """Connect to the next target that listens."""
        for _ in range(len(self._targets)):
            self._targets.append(target := self._targets.pop(0))
            with suppress(OSError):
                return socket.create_connection(("127.0.0.1", target))
        return None

    @staticmethod
    def _answer_garbage(client: socket.socket) -> None:
        with suppress(OSError):
            client.recv(65536)
            client.sendall(GARBAGE)
            client.close()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
