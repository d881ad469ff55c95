"""What fronts are started with."""

from bench.fronts import passed_on


def test_no_front_is_set_or_slowed_by_the_benchs_own_environment() -> None:
    """Settings would reach only ours, and without bytecode those in Python would begin by compiling themselves."""
    environment = {"PATH": "/bin", "TLSPROXY_ACCESS_LOG": "off", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": "/a"}
    assert passed_on(environment) == {"PATH": "/bin", "PYTHONPATH": "/a"}
