"""The volume as the app sees it."""

import json
from pathlib import Path

from tests.e2e.polling import wait_until


class Volume:
    """A directory that may not be there yet."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def json(self, name: str = "app.json") -> object:
        """What a file holds; None where there is none."""
        try:
            return json.loads((self.path / name).read_bytes())
        except FileNotFoundError:
            return None

    def wait_for(self, content: object, name: str = "app.json") -> None:
        wait_until(lambda: self.json(name) == content, f"{name} is {content}, not {self.json(name)}", 10)

    def names(self) -> list[str]:
        """What an app finds in it."""
        return sorted(path.name for path in self.path.iterdir() if not path.name.startswith(".."))
