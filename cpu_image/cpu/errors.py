"""The errors of the commands, divided by whether another try may help."""


class CpuError(Exception):
    """A command failed. The text is the one line that people see of it."""

    exit_code = 1


class TemporaryError(CpuError):
    """Another try may help: Redis does not answer, the file of the result cannot be written."""


class PermanentError(CpuError):
    """Another try cannot help: the arguments or the program are wrong, the CPU is not loaded."""

    exit_code = 2


class ProgramError(PermanentError):
    """The text is not a valid program. Nothing of it is stored."""


class PreconditionError(PermanentError):
    """The CPU, its start run or its Redis is not in the state that the command needs. Nothing is changed."""


class LostError(PreconditionError):
    """Redis has lost a part of a start run, a CPU or an items run: what is left could lead to a wrong answer.

    `remedy` is what people are to do, beside giving the CPUs another Redis.
    """

    def __init__(self, what: str, remedy: str = "start the program again") -> None:
        super().__init__(
            f"Redis has lost {what}: {remedy}, and give the CPUs a Redis that does not evict"
            " (maxmemory-policy noeviction)"
        )
