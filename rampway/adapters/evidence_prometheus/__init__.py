"""Evidence from the gateways' sealed totals, as Prometheus scraped them."""

from rampway.adapters.evidence_prometheus.evidence import PrometheusEvidence
from rampway.adapters.evidence_prometheus.promql import BadSelector, read_selector
from rampway.adapters.evidence_prometheus.scraping import Scraped, scraped_gateways
from rampway.adapters.evidence_prometheus.segments import Limits
from rampway.adapters.evidence_prometheus.session import Access, Prometheus

__all__ = [
    "Access",
    "BadSelector",
    "Limits",
    "Prometheus",
    "PrometheusEvidence",
    "Scraped",
    "read_selector",
    "scraped_gateways",
]
