"""The data port of several workers: one socket for each, bound to the same address (SO_REUSEPORT, socket(7)).

The kernel spreads new connections over them. The supervisor binds them and keeps each open beside its worker:
what the kernel has queued for a worker that is killed waits for its replacement, where it would be reset.
"""

import socket

from rampway.gateway.settings import BadSettings


class DataPort:
    """The address, held by a socket that never listens, and the socket of each worker."""

    def __init__(self, host: str, port: int, *, shared_by_now: bool) -> None:
        """Raises BadSettings where it is taken; `shared_by_now` is it by workers that are to be replaced."""
        try:
            family, _, _, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            self._family: socket.AddressFamily = family
            if port and not shared_by_now:
                # A stranger that shares its port too would silently get a part of our requests.
                with socket.socket(self._family, socket.SOCK_STREAM) as alone:
                    alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    alone.bind(address)
            self._address: tuple[str | int | bytes, ...] = address
            self._holding = self._bound()
        except OSError as taken:
            raise BadSettings(f"{host}:{port} cannot be listened on: {taken.strerror}.") from taken
        self.number: int = self._holding.getsockname()[1]
        self._address = (address[0], self.number, *address[2:])
        self._of_worker: dict[int, socket.socket] = {}

    def of(self, worker: int) -> socket.socket:
        """A worker's socket, with the connections that wait for the worker before it; it listens itself."""
        if worker not in self._of_worker:
            self._of_worker[worker] = self._bound()
        return self._of_worker[worker]

    def give_up(self, worker: int) -> None:
        """Let the other workers have its connections, for it will not be there soon."""
        given = self._of_worker.pop(worker, None)
        if given is not None:
            given.close()

    def stop(self) -> None:
        """From now on workers hold their sockets alone: who stops listening gets no more connections."""
        for worker in list(self._of_worker):
            self.give_up(worker)

    def close(self) -> None:
        self.stop()
        self._holding.close()

    def _bound(self) -> socket.socket:
        fresh = socket.socket(self._family, socket.SOCK_STREAM)
        fresh.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        fresh.bind(self._address)
        return fresh
