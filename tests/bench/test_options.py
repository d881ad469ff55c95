"""The command line."""

import pytest

from bench.options import choose_fronts, make_parser, make_plan, split_label


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("before=python -m tlsproxy run", ("before", "python -m tlsproxy run")),
        ("python -m tlsproxy run", ("tlsproxy", "python -m tlsproxy run")),
        ("env A=b python -m tlsproxy", ("tlsproxy", "env A=b python -m tlsproxy")),
        ("off=env A=b python -m tlsproxy", ("off", "env A=b python -m tlsproxy")),
        ("/opt/a=b/python -m tlsproxy", ("tlsproxy", "/opt/a=b/python -m tlsproxy")),
    ],
)
def test_a_label_is_a_word_before_the_first_equals_sign(option: str, expected: tuple[str, str]) -> None:
    """Spaces, slashes and quotes belong to commands."""
    assert split_label(option) == expected


def test_two_of_ours_need_two_labels() -> None:
    """Figures of two fronts under one name would be mixed up."""
    with pytest.raises(ValueError, match="label of its own"):
        choose_fronts(["ours"], ["python a", "python b"])
    labels = [front.label for front in choose_fronts(["ours"], ["a=x", "b=x"])]
    assert labels == ["a", "a tcp", "b", "b tcp"]


@pytest.mark.parametrize("arguments", [["--loads", "small,huge"], ["--fronts", "apache"], ["--rounds", "0"]])
def test_what_is_not_known_is_refused(arguments: list[str]) -> None:
    """An unknown name or a senseless number does not start a run."""
    with pytest.raises(ValueError, match=r"huge|apache|--rounds"):
        make_plan(make_parser().parse_args(arguments))


def test_a_quick_run_of_all_takes_two_minutes_at_most() -> None:
    """The estimate stays within what the option promises, because some loads are left out unless they are named."""
    quick = make_plan(make_parser().parse_args(["--quick"]))
    assert quick.estimate <= 120
    assert "tcp-up" not in {load.name for load in quick.loads}
    assert quick.idle == (1000,)
    named = make_plan(make_parser().parse_args(["--quick", "--loads", "tcp-up"]))
    assert [load.name for load in named.loads] == ["tcp-up"]


def test_a_run_of_all_takes_a_quarter_of_an_hour() -> None:
    """The estimate stays within what the page promises."""
    assert make_plan(make_parser().parse_args([])).estimate <= 16 * 60


def test_a_front_comes_under_the_loads_of_its_mode() -> None:
    """Fronts that pass bytes are not compared with those that speak HTTP."""
    plan = make_plan(make_parser().parse_args(["--fronts", "plain,ours"]))
    assert [front.label for front in plan.fronts_under("http")] == ["plain aiohttp", "tlsproxy"]
    assert [front.label for front in plan.fronts_under("tcp")] == ["tlsproxy tcp"]


def test_loads_and_directions_are_chosen_by_name() -> None:
    """Only what is named runs."""
    plan = make_plan(make_parser().parse_args(["--loads", "1g-up,small"]))
    assert [load.name for load in plan.loads] == ["small"]
    assert plan.directions == ["up"]
    assert (plan.variants, plan.latency, plan.idle, plan.starts, plan.endurance) == ([], False, (), False, False)


def test_what_is_no_load_of_the_table_has_a_name_too() -> None:
    """Latency, idle connections, starts, endurance and changed settings are chosen in the same way."""
    plan = make_plan(make_parser().parse_args(["--loads", "latency,idle,start,alone,limits,endurance,log"]))
    assert (plan.loads, plan.latency, plan.idle, plan.starts) == ([], True, (1000, 10_000), True)
    assert (plan.alone, plan.limits, plan.endurance) == (True, True, True)
    assert [variant.name for variant in plan.variants] == ["log"]
