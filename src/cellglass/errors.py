"""The error that means "you asked for something that cannot be", and pieces of its messages.

A message names the thing, the place and the way out, in one line.
"""

from collections.abc import Iterable


class InputError(ValueError):
    """Wrong input from a user.

    The message is one line that names the thing, the place and the way out. The command line prints it and exits
    with status 2; every other exception is a failure of ours or of the machine and exits with status 1.
    """


class DamagedError(InputError):
    """A part of an atlas that cannot be read, or does not fit its other parts.

    On the command line it is the user's folder that is wrong; whoever asks a server for a file did nothing wrong.
    """


def one_line(error: BaseException, limit: int = 200) -> str:
    """Return what an error says in one line of at most `limit` characters, or its name where it says nothing."""
    return " ".join(str(error).split())[:limit] or type(error).__name__


def listed(items: Iterable[object], limit: int = 12) -> str:
    """Return `items` for a message: at most `limit` of them, with how many more there are."""
    texts = [str(item) for item in items]
    more = f" and {len(texts) - limit} more" if len(texts) > limit else ""
    return ", ".join(texts[:limit]) + more if texts else "none"
