"""What Prometheus is told at ``/metrics``."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_TOKENS = (16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384)


class Metrics:
    """Counters, gauges and histograms of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def name(of: str) -> str:
            return f"transformers_serve_{of}"

        to = self.registry
        self.requests = Counter(name("requests"), "Requests by path and code.", ["path", "code"], registry=to)
        self.latency = Histogram(
            name("predict_seconds"), "Time of an answered /predict.", buckets=_SECONDS, registry=to
        )
        self.texts = Histogram(name("batch_texts"), "Rows of a batch.", buckets=_TEXTS, registry=to)
        self.tokens = Histogram(name("batch_tokens"), "Tokens of a batch.", buckets=_TOKENS, registry=to)
        self.adapters = Histogram(name("batch_adapters"), "Adapters of a batch.", buckets=_TEXTS, registry=to)
        self.passes = Counter(name("passes"), "Forward passes, of one adapter or mixed.", ["kind"], registry=to)
        self.queue_texts = Gauge(name("queue_texts"), "Rows that wait.", registry=to)
        self.queue_tokens = Gauge(name("queue_tokens"), "Tokens that wait.", registry=to)
        self.in_memory = Gauge(name("adapters_in_memory"), "Adapters in memory.", registry=to)
        self.evictions = Counter(name("evictions"), "Adapters that gave their place to others.", registry=to)
        self.loads = Counter(name("loads"), "Adapters that were loaded.", registry=to)
        self.failures = Counter(name("load_failures"), "Adapters that could not be loaded.", registry=to)

    def text(self) -> bytes:
        """Give everything in Prometheus's text format."""
        return generate_latest(self.registry)
