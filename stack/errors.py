"""What can go wrong with the local stack, each with a sentence for the person at the terminal."""


class StackError(Exception):
    """The stack cannot do what was asked; the message says why and what helps."""


class ServerNotFoundError(StackError):
    """No usable binary of a server was found."""


class StartError(StackError):
    """A process ended or stayed silent while it was being started."""


class DataDirInUseError(StackError):
    """Another supervisor owns the data folder."""


class StackNotRunningError(StackError):
    """No supervisor runs in the data folder."""
