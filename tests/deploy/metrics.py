"""The metrics that a file in deploy/ asks for, and those that there are."""

import re

from tlsproxy import contract
from tlsproxy.chassis import documents

OF_THE_PROCESS = {
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
}


def named(text: str) -> set[str]:
    """Names of metrics in PromQL, those of a histogram's series as that of the histogram."""
    return {re.sub("_(bucket|sum|count)$", "", name) for name in re.findall(r"\b(?:tlsproxy|process)_[a-z_]+", text)}


def known() -> set[str]:
    """Names of all metrics of the contract, which tests/e2e/test_metrics.py holds against a scrape."""
    metrics = documents.promises(contract.SURFACE)["metrics"]
    assert isinstance(metrics, dict)
    return metrics.keys() | OF_THE_PROCESS
