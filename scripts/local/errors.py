"""The error that ends a command of the stack."""

from __future__ import annotations


class StackError(Exception):
    """The stack can't do what was asked; the text is a sentence that names the remedy.

    ``component`` is the component whose log has the details, if any.
    """

    def __init__(self, message: str, component: str | None = None) -> None:
        super().__init__(message)
        self.component = component
