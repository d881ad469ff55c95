"""A version's files held to their formats, before they are published.

They are read in a process that lasts no longer than that (check_process): what a parser and jsonschema take, 10 MB and
more, goes with it, and so does a file that would take all memory, all time or the process itself.
"""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from tlsproxy.companions.configsync.check_process import MALFORMED, UNUSABLE
from tlsproxy.companions.configsync.formats import Formats
from tlsproxy.companions.rollout.commands import CommandError, run


class FormatError(Exception):
    """Files are not what they are to be; the message has a line for each, with its name, place and reason."""


class UncheckedError(Exception):
    """It can't be told: of the schema, or of time or memory that were not enough. The message is plain."""


async def check_files(directory: Path, formats: Formats) -> None:
    """Hold all files under a directory to their formats and schemas; symbolic links are passed over.

    Raises:
        FormatError: some are not what they are to be.
        UncheckedError: it can't be told.
    """
    said: list[str] = []
    command = (
        sys.executable,
        "-P",
        "-W",
        "ignore",
        "-m",
        f"{__package__}.check_process",
        str(directory),
        json.dumps(asdict(formats)),
    )
    # It finds what this process has found, however that was told where to look.
    variables = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUTF8": "1"}
    try:
        await run(command, formats.within, variables, say=said.append)
    except CommandError as error:
        if error.status == MALFORMED:
            raise FormatError("\n".join(said)) from None
        reason = said[-1] if error.status == UNUSABLE and said else error
        raise UncheckedError(f"the files could not be checked: {reason}") from None
