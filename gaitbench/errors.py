"""The one error that is the user's to mend."""


class InputError(ValueError):
    """Something the user gave (a file, a setting, a checkpoint) is wrong.

    The message is one sentence that names the place (file, row or field), what was expected and
    found, and how to mend it. The command line prints it without a traceback and exits with 2.
    """
