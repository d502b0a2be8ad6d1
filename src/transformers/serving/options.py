"""What the one who starts the server may choose."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ServeOptions"]

_LOWEST = {
    "max_batch_tokens": 1,
    "max_wait_ms": 0,
    "adapters_in_memory": 1,
    "queue_tokens": 1,
    "max_requests": 1,
    "max_body": 1,
    "max_texts": 1,
}


@dataclass(frozen=True)
class ServeOptions:
    """What the one who starts the server may choose.

    Attributes:
        adapters: The folder whose subfolders are adapters.
        model: The base, a folder or hub id; the one that the adapters name where None.
        host: Address to listen on; the loopback address by default, which no other machine reaches.
        port: Port to listen on; a free one where 0.
        token: What requests must bring (``Authorization: Bearer …``); none where None.
        max_batch_tokens: The most tokens that are computed at once; a longer text is computed alone.
        max_wait_ms: How long a request waits for others to be computed with, at most.
        adapters_in_memory: The most adapters that are in memory at once.
        queue_tokens: The most tokens that wait; what comes then is refused with 429.
        max_requests: The most requests that are in hand at once; what comes then is refused with 429.
        max_body: The most bytes of a request's body.
        max_texts: The most texts of a request.
        timeout: Seconds that a request may take, and that stopping may take.
        device: Where to compute; the GPU where there is one and None is given.
        threads: Threads that PyTorch computes with; its own choice where None.
        watch: See by itself what changes in the folder.

    Raises:
        ValueError: If a number is out of its range, or the token is empty.
    """

    adapters: str
    model: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    max_batch_tokens: int = 4096
    max_wait_ms: float = 4.0
    adapters_in_memory: int = 64
    queue_tokens: int = 65_536
    max_requests: int = 1024
    max_body: int = 1_048_576
    max_texts: int = 256
    timeout: float = 30.0
    device: str | None = None
    threads: int | None = None
    watch: bool = True

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, lowest in _LOWEST.items():
            if not getattr(self, name) >= lowest:
                raise ValueError(f"--{name} is {getattr(self, name)}; a number from {lowest} was expected.")
        if not 0 < self.timeout < float("inf"):
            raise ValueError(f"--timeout is {self.timeout}; seconds above 0 were expected.")
        if not 0 <= self.port < 65_536:
            raise ValueError(f"--port is {self.port}; a number from 0 to 65535 was expected.")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"--threads is {self.threads}; a number from 1 was expected.")
        if self.token is not None and not self.token.strip():
            raise ValueError("The token is empty; give one, or none for a server that asks for none.")
