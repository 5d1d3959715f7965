"""What can go wrong, told apart by one question: is it any use to try again?"""


class CpuError(Exception):
    """A command that gives no answer; its text is the one line people are told."""

    exit_code = 1


class PermanentError(CpuError):
    """Trying again cannot help: bad arguments, a refused program, a CPU that is not there."""

    exit_code = 2


class ProgramError(PermanentError):
    """The program text is refused; nothing of it is kept."""


class RefusedError(PermanentError):
    """The CPU, or its start run, is not in a state for what is asked."""


class LostError(RefusedError):
    """Redis has lost a part of what belongs together; on what is left no answer can be built."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"Redis has lost {what}: start the program again, and give the CPUs a Redis that does not evict"
            " (maxmemory-policy noeviction)"
        )


class TemporaryError(CpuError):
    """Trying again may help: Redis is away, the result's file cannot be written."""
