"""What Prometheus is told."""

from tests.companions.topz.snapshots import CONTAINERS, SNAPSHOT
from tlsproxy.companions.topz.measures import container_measures, look_measures, machine_measures

APP = ("app", "0123456789ab")


def test_containers() -> None:
    """Each container has a sample of what is told of it, and none of what is not."""
    known = {measure.name: measure for measure in container_measures(CONTAINERS)}
    assert known["topz_container_cpu_seconds_total"].samples == {
        APP: 108.0,
        ("tlsproxy", "ba9876543210"): 3600.5,
        ("pause", "ffffffffffff"): 0.0,
    }
    assert known["topz_container_memory_limit_bytes"].samples == {APP: 134_217_728}
    assert known["topz_container_cpu_throttled_periods_total"].samples == {APP: 4}
    assert ("tlsproxy", "ba9876543210") not in known["topz_container_memory_pss_bytes"].samples
    assert known["topz_container_pressure_seconds_total"].samples == {
        (*APP, "cpu", "some"): 3.0,
        (*APP, "cpu", "full"): 1.0,
    }


def test_names() -> None:
    """A counter ends with total, and a gauge does not."""
    for measure in (*container_measures(()), *machine_measures(SNAPSHOT.machine), *look_measures(3, 0.5)):
        assert measure.name.endswith("_total") is (measure.kind == "counter"), measure.name
        assert measure.help.endswith(".")
