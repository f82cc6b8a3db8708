"""The one error that means "you asked for something that cannot be": wrong input, named, with the way out."""


class InputError(ValueError):
    """Wrong input from a user.

    The message is one line that names the thing, the place and the way out. The command line prints it and exits
    with status 2; every other exception is a failure of ours or of the machine and exits with status 1.
    """
