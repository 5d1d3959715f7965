"""Files in the stand-in for Slack: an address to upload to, the upload, and its completion.

https://docs.slack.dev/messaging/working-with-files#uploading_files
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from tests.support.slack.rules import Refusal, is_ts


@dataclass(frozen=True)
class File:
    """A file; `content` is None before it is uploaded, `channel` and `thread` before it is completed."""

    name: str
    length: int
    content: bytes | None = None
    title: str = ""
    channel: str | None = None
    thread: str | None = None


class Files:
    """All files, by their id."""

    def __init__(self) -> None:
        self._files: dict[str, File] = {}

    @property
    def shared(self) -> list[File]:
        """The files that people see."""
        return [file for file in self._files.values() if file.channel]

    def begin(self, asked: dict[str, str], address: str) -> dict[str, Any]:
        """Return the answer of files.getUploadURLExternal. Raises Refusal."""
        name, length = asked.get("filename", ""), asked.get("length", "")
        if not name or not length.isdecimal() or int(length) == 0:
            raise Refusal("invalid_arguments")
        number = f"F{len(self._files):08d}"
        self._files[number] = File(name, int(length))
        return {"ok": True, "upload_url": f"{address}{number}", "file_id": number}

    def take(self, number: str, content: bytes) -> tuple[int, str]:
        """Take an upload; return the status and body of the answer."""
        file = self._files.get(number)
        if file is None:
            return 404, "not found"
        if len(content) != file.length:
            return 400, f"{len(content)} bytes, not {file.length}"
        self._files[number] = replace(file, content=content)
        return 200, f"OK - {len(content)}"

    def complete(self, asked: dict[str, str], threads: set[str]) -> dict[str, Any]:
        """Return the answer of files.completeUploadExternal, for a channel with these threads."""
        channel, thread = asked["channel_id"], asked.get("thread_ts")
        try:
            named = [(one["id"], one.get("title", "")) for one in json.loads(asked.get("files", ""))]
        except (ValueError, TypeError, KeyError):
            raise Refusal("invalid_arguments") from None
        if not named:
            raise Refusal("invalid_arguments")
        if thread is not None and (not is_ts(thread) or thread not in threads):
            raise Refusal("invalid_thread_ts")
        if any(number not in self._files or self._files[number].content is None for number, _ in named):
            raise Refusal("file_not_found")
        for number, title in named:
            self._files[number] = replace(self._files[number], title=title, channel=channel, thread=thread)
        return {"ok": True, "files": [{"id": number, "title": title} for number, title in named]}
