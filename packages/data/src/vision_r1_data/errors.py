"""The one error that bad data raises."""


class DataError(ValueError):
    """Bad input data: one line that says what is wrong, where, and how to fix it.

    Command lines print it and exit with code 2.
    """
