"""What can go wrong with the stack, said in one sentence that names the remedy."""

from __future__ import annotations


class StackError(Exception):
    """The stack can't do what was asked. ``component`` names the one whose log tells more, if any."""

    def __init__(self, message: str, component: str | None = None) -> None:
        super().__init__(message)
        self.component = component
