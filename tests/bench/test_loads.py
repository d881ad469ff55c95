"""The loads and what their generators print."""

import pytest

from bench.loads import LOADS, UPLOAD, GeneratorError, Tally, read_tally


def test_the_last_line_holds_the_figures_and_refusals_are_no_answers() -> None:
    """wrk's own report comes first; answers of 400 and above do not count as answered."""
    output = (
        "Running 1s test\n  100 requests in 2s\n\n"
        '{"requests": 100, "microseconds": 2000000, "refused": 3, "broken": 2, "resumed": null}\n'
    )
    assert read_tally(output) == Tally(answered=97, refused=3, broken=2, seconds=2.0, resumed=None)


@pytest.mark.parametrize("output", ["", "unable to connect", '{"requests": 1}', "[]"])
def test_no_figures_is_an_error(output: str) -> None:
    """A generator that printed anything else has failed."""
    with pytest.raises(GeneratorError):
        read_tally(output)


def test_the_browser_sends_twenty_fields_and_a_cookie_of_two_kilobytes() -> None:
    """The browser's head is as large as its title says, Host included."""
    browser = next(load for load in LOADS if load.name == "browser")
    assert len(browser.headers) + 1 == 20
    assert len(next(field for field in browser.headers if field.startswith("Cookie:"))) > 2048


@pytest.mark.parametrize("mode", ["http", "tcp"])
def test_full_handshakes_are_not_left_to_wrk(mode: str) -> None:
    """wrk resumes sessions, so the loads of full handshakes are made by the program that does not."""
    full = next(load for load in LOADS if load.handshake == "full" and load.mode == mode)
    assert not full.needs_wrk
    assert "bench.full_handshakes" in full.command(1, 1)


def test_an_upload_has_a_target_of_its_own_and_a_size() -> None:
    """wrk's script is told how large the body is; other loads ask for a file and send none."""
    up = next(load for load in LOADS if load.upload)
    assert up.command(1, 1)[-3:] == [f"https://127.0.0.1:1{UPLOAD}", "--", "1000000"]
    small = next(load for load in LOADS if load.name == "tcp-small")
    assert small.command(1, 1)[-1] == "https://127.0.0.1:1/100"
