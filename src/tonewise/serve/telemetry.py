"""What is measured while it serves: Prometheus counters, gauges and histograms."""

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from tonewise import __version__
from tonewise.serve.service import Call, Service
from tonewise.serve.workers import Load

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
TOKENS = (16, 64, 128, 256, 512, 1024, 2048, 4096, 8192)


class Telemetry:
    """Counts requests and batches; the rest is read from the service when `/metrics` is asked."""

    media_type = CONTENT_TYPE_LATEST

    def __init__(self, service: Service) -> None:
        self._service = service
        self.registry = CollectorRegistry()
        made: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter(
            "tonewise_requests", "Requests answered, by route and status.", ("route", "status"), **made
        )
        self.seconds = Histogram(
            "tonewise_request_seconds",
            "From the first byte of a request to its answer.",
            ("route",),
            buckets=SECONDS,
            **made,
        )
        self.stages = Histogram(
            "tonewise_stage_seconds", "Of each stage of a request.", ("stage",), buckets=SECONDS, **made
        )
        self.texts = Counter("tonewise_texts", "Texts answered, by model.", ("model",), **made)
        self.tokens = Counter("tonewise_tokens", "Tokens of them.", ("model",), **made)
        self.batch_tokens = Histogram(
            "tonewise_batch_tokens", "Tokens of a batch, without padding.", buckets=TOKENS, **made
        )
        self.batch_seconds = Histogram(
            "tonewise_batch_seconds", "What a batch took in its worker.", buckets=SECONDS, **made
        )
        self.padded = Counter("tonewise_padded_tokens", "Tokens computed, padding included.", **made)
        self.refused = Counter(
            "tonewise_refusals", "Requests refused before they were tokenized.", ("reason",), **made
        )
        self.registry.register(self)
        service.scheduler.batches = self._batch
        self._routes: dict[tuple[str, int], Any] = {}
        self._models: dict[str, Any] = {}
        self._stages: dict[str, Any] = {}

    def request(self, call: Call, status: int, seconds: float) -> None:
        """One request was answered."""
        key = (call.route, status)
        made = self._routes.get(key)
        if made is None:
            made = self.requests.labels(call.route, str(status)), self.seconds.labels(call.route)
            self._routes[key] = made
        made[0].inc()
        made[1].observe(seconds)
        for stage, took in call.times.items():
            if (histogram := self._stages.get(stage)) is None:
                histogram = self._stages[stage] = self.stages.labels(stage)
            histogram.observe(took)
        if call.model is not None and call.texts:
            name = call.model.name
            if (of := self._models.get(name)) is None:
                of = self._models[name] = self.texts.labels(name), self.tokens.labels(name)
            of[0].inc(call.texts)
            of[1].inc(call.tokens)

    def page(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """What is so at this moment."""
        service = self._service
        gauges = {
            "tonewise_queue_tokens": ("Tokens that wait for a worker.", service.scheduler.waiting.all_tokens),
            "tonewise_admitted_tokens": ("Tokens let in and not yet answered.", service.admission.tokens),
            "tonewise_cache_bytes": ("Bytes of answers kept.", service.cache.bytes),
            "tonewise_ready": ("1 unless it is stopping or mending.", int(service.is_whole)),
        }
        for name, (told, value) in gauges.items():
            yield GaugeMetricFamily(name, told, value=value)
        counters = {
            "tonewise_cache_hits": ("Answers given from the cache.", service.cache.hits),
            "tonewise_cache_misses": ("Answers that the cache had not.", service.cache.misses),
            "tonewise_worker_restarts": ("Workers replaced.", service.scheduler.restarts),
            "tonewise_engine_hangs": ("Batches that did not come back.", service.hangs),
        }
        for name, (told, value) in counters.items():
            yield CounterMetricFamily(name, told, value=value)
        about = GaugeMetricFamily(
            "tonewise_model_info",
            "1 for each model in memory.",
            labels=("model", "digest", "licence", "engine", "precision", "version"),
        )
        memory = GaugeMetricFamily("tonewise_model_bytes", "Memory of a model.", labels=("model",))
        for model in service.models:
            if model.opened is not None:
                engine, licence = model.opened.classifier.engine, model.bundle.manifest.licence or "unstated"
                labels = (
                    model.name,
                    model.bundle.digest,
                    licence,
                    engine.name,
                    engine.precision,
                    __version__,
                )
                about.add_metric(labels, 1)
                memory.add_metric((model.name,), model.opened.bytes)
        yield about
        yield memory

    def _batch(self, load: Load) -> None:
        sizes = [item.tokens for item in load.items]
        self.batch_tokens.observe(sum(sizes))
        self.batch_seconds.observe(load.seconds)
        self.padded.inc(max(sizes) * len(sizes))
