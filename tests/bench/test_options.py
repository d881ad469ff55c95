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
    assert [front.label for front in choose_fronts(["ours"], ["a=x", "b=x"])] == ["a", "b"]


@pytest.mark.parametrize("arguments", [["--loads", "small,huge"], ["--fronts", "apache"], ["--rounds", "0"]])
def test_what_is_not_known_is_refused(arguments: list[str]) -> None:
    """An unknown name or a senseless number does not start a run."""
    with pytest.raises(ValueError, match=r"huge|apache|--rounds"):
        make_plan(make_parser().parse_args(arguments))


def test_a_quick_run_of_all_takes_two_minutes_at_most() -> None:
    """The estimate for three fronts stays within what the option promises."""
    assert make_plan(make_parser().parse_args(["--quick"])).estimate <= 120


def test_loads_and_directions_are_chosen_by_name() -> None:
    """Only what is named runs."""
    plan = make_plan(make_parser().parse_args(["--loads", "1g-up,small"]))
    assert [load.name for load in plan.loads] == ["small"]
    assert plan.directions == ["up"]
