"""What Prometheus reads at /metrics: gathered when asked, from what the parts count anyway."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Figures = Callable[[], Mapping[Any, float]]
"""Label, or anything whose text is one, to value."""


class Gathered(Collector):
    """One metric whose samples differ by one label; `read` gives label → value at the time of the question."""

    def __init__(self, name: str, text: str, label: str, read: Figures, *, counter: bool = False) -> None:
        self._name = name
        self._text = text
        self._label = label
        self._read = read
        self._family = CounterMetricFamily if counter else GaugeMetricFamily

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before the first question."""
        return []

    def collect(self) -> Iterable[Metric]:
        family = self._family(self._name, self._text, labels=[self._label])
        for label, value in self._read().items():
            family.add_metric([str(label)], value)
        yield family


class Named(Collector):
    """Counters that come with Prometheus names of their own (`…_total` is a counter, all else a gauge)."""

    def __init__(self, read: Figures) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before the first question."""
        return []

    def collect(self) -> Iterable[Metric]:
        for name, value in self._read().items():
            family = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            metric = family(name, name.replace("_", " "))
            metric.add_metric([], value)
            yield metric
