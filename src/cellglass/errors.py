"""The error that means "you asked for something that cannot be": wrong input, named, with the way out."""


class InputError(ValueError):
    """Wrong input from a user.

    The message is one line that names the thing, the place and the way out. The command line prints it and exits
    with status 2; every other exception is a failure of ours or of the machine and exits with status 1.
    """


class DamagedError(InputError):
    """A part of an atlas that cannot be read, or does not fit its other parts.

    On the command line it is the user's folder that is wrong; whoever asks a server for a file did nothing wrong.
    """
