"""In which form an answer is sent that is asked for in none: as the client takes it (RFC 9110, 12.5.1); pure."""

from collections.abc import Iterator

from tlsproxy.companions.topz.question import Format

_TYPES: dict[str, Format] = {
    "text/html": "html",
    "application/xhtml+xml": "html",
    "application/json": "json",
    "text/plain": "text",
}


def preferred(accept: str, user_agent: str) -> Format:
    """What a client is sent that asks for no form.

    Args:
        accept: the field, empty where it is not sent. The first of the types with the greatest weight that there is
            counts; a client that takes whatever there is gets a page if it says that it is a browser, else text: curl
            and wget say so.
        user_agent: the field.
    """
    weighted = sorted(_weighted(accept), key=lambda pair: -pair[1])
    found = next((_TYPES[type_] for type_, weight in weighted if type_ in _TYPES and weight > 0), None)
    if found is not None:
        return found
    return "html" if user_agent.startswith("Mozilla/") else "text"


def _weighted(accept: str) -> Iterator[tuple[str, float]]:
    for part in accept.lower().split(","):
        type_, *parameters = (piece.strip() for piece in part.split(";"))
        weights = (value for name, _, value in (one.partition("=") for one in parameters) if name.strip() == "q")
        yield type_, _weight(next(weights, "1"))


def _weight(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return 0.0
