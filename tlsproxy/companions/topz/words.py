"""Numbers and moments as people read them, the same on the page and in text; pure."""

from datetime import UTC, datetime

DASH = "-"
"""Stands for what could not be read or does not apply."""


def percent(value: float | None) -> str:
    """With one decimal, as top has it."""
    return DASH if value is None else f"{value:.1f}"


def count(value: int | None) -> str:
    """A whole number."""
    return DASH if value is None else str(value)


def cpus(value: float | None) -> str:
    """So many CPUs' worth of time."""
    return DASH if value is None else f"{value:g}"


def size(value: float | None) -> str:
    """Bytes in powers of 1024: `512`, `1.5K`, `43.8M`, `1.2G`."""
    if value is None:
        return DASH
    for unit in ("", "K", "M", "G"):
        if value < 1000 or unit == "G":
            break
        value /= 1024
    return f"{value:.0f}{unit}" if not unit or value >= 100 else f"{value:.1f}{unit}"


def seconds(value: float | None) -> str:
    """CPU time: `0:01.52`, `12:03.40`, and with hours from an hour on, `3:12:03`."""
    if value is None:
        return DASH
    # In whole hundredths, the kernel's ticks: no fraction is rounded up to a minute.
    minutes, rest = divmod(round(value * 1000) // 10, 6000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest // 100:02}" if hours else f"{minutes}:{rest // 100:02}.{rest % 100:02}"


def moment(epoch: float) -> str:
    """RFC 3339 in UTC, to the second."""
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def since(epoch: float | None, now: float) -> str:
    """The time of a moment of the last day, else its date; UTC."""
    if epoch is None:
        return DASH
    said = datetime.fromtimestamp(epoch, UTC)
    return f"{said:%H:%M:%S}" if now - epoch < 86_400 else f"{said:%Y-%m-%d}"
