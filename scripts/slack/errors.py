"""Slack's errors, in two kinds: a person must correct something, or a later try may succeed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping


class SlackError(Exception):
    """Slack did not do what was asked, or did not confirm it. The text never holds a secret."""


class SlackRefused(SlackError):
    """The connection is wrong or Slack refuses: trying again cannot help, a person must act."""


class SlackUnavailable(SlackError):
    """Slack is down, too slow or asks for a pause: trying again later may help.

    `wait`: the seconds that Slack asks to wait before the next try; None if it names no number.
    """

    def __init__(self, message: str, wait: int | None = None) -> None:
        super().__init__(message)
        self.wait = wait


# https://docs.slack.dev/reference/methods/chat.postMessage#errors and
# https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors
_TEMPORARY_ERRORS = {
    "accesslimited", "fatal_error", "internal_error", "ratelimited", "rate_limited", "request_timeout",
    "rollup_error", "service_unavailable", "team_added_to_org",
    # The thread's first message was deleted a moment ago: the next try does not find it.
    "cannot_reply_to_message", "invalid_thread_ts",
}  # fmt: skip
_NEW_TOKEN = "copy the bot token again from your app's page, OAuth & Permissions"  # noqa: S105 - a remedy
_NEW_HOOK = "make a new webhook on your app's page, Incoming Webhooks, and put its address in the connection"
_UNARCHIVE = "unarchive the channel or name another"
_ASK_ADMIN = "ask a workspace admin to allow the app to post there"
POST_REMEDIES = {
    "account_inactive": _NEW_TOKEN,
    "action_prohibited": _ASK_ADMIN,
    "channel_is_archived": _UNARCHIVE,
    "channel_not_found": "correct the channel in the connection's extra, or /invite the bot if it is private",
    "invalid_auth": _NEW_TOKEN,
    "invalid_token": _NEW_HOOK,
    "is_archived": _UNARCHIVE,
    "missing_scope": "give the app the scope chat:write and install it again",
    "no_active_hooks": _NEW_HOOK,
    "no_service": _NEW_HOOK,
    "no_team": _NEW_HOOK,
    "not_authed": _NEW_TOKEN,
    "not_in_channel": "/invite the bot to the channel",
    "restricted_action": _ASK_ADMIN,
    "token_expired": _NEW_TOKEN,
    "token_revoked": _NEW_TOKEN,
}
"""What helps against each of Slack's errors when a message is posted."""
FIND_REMEDIES = POST_REMEDIES | {
    "channel_not_found": "name the channel by its id (C0123456789): Slack shows no history by a name",
    "missing_scope": "give the app the scope channels:history, or groups:history for a private channel, and"
    " install it again",
}
ATTACH_REMEDIES = POST_REMEDIES | {"missing_scope": "give the app the scope files:write and install it again"}


def refusal(
    status: int, error: str, headers: Mapping[str, str], remedies: Mapping[str, str], unsure: str = ""
) -> SlackError:
    """Return the exception for an answer that reports no success, by its HTTP status and Slack's error.

    `remedies`: what helps against each error. `unsure`: added if Slack may have done it anyway.
    """
    answer = f"(HTTP {status}, {error})"
    if status == 429:
        retry_after = {name.lower(): value for name, value in headers.items()}.get("retry-after", "")
        wait = int(retry_after) if re.fullmatch("[0-9]{1,6}", retry_after) else None
        return SlackUnavailable(
            f"Slack asks for a pause {answer}: try again in {wait or 'some'} seconds", wait
        )
    if status >= 500 or error in _TEMPORARY_ERRORS:
        return SlackUnavailable(f"Slack has a problem {answer}{unsure}: try again later")
    if not re.fullmatch("[a-z_]+", error):
        return SlackUnavailable(
            f"The answer is not from Slack {answer}{unsure}: check the network, then try again"
        )
    remedy = remedies.get(error, "see https://docs.slack.dev/reference/methods")
    return SlackRefused(f"Slack refuses {answer}: {remedy}")


def error_in(body: str) -> str | None:
    """Return the error in a webhook's answer of HTTP 2xx, or None if the answer reports no error.

    Chats that accept Slack's webhooks answer `ok`, `{"ok":true}`, `{"success":true}`, `1` or nothing. An
    error is one of Slack's error names, a JSON object or a sentence that says so (Teams), or a web page: that
    comes from a proxy and not from a chat.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = body.strip()
    if isinstance(answer, str):
        is_error = re.fullmatch("[a-z]+(_[a-z]+)+|ratelimited", answer)
        return answer if is_error or re.search("(?i)^<|error|failed", answer) else None
    if not isinstance(answer, dict):
        return None
    error = answer.get("error")
    is_denied = any(answer.get(key) is False for key in ("ok", "success"))
    return (error if isinstance(error, str) and error else body) if is_denied or error else None


def webhook_refusal(status: int, error: str, headers: Mapping[str, str], unsure: str) -> SlackError:
    """Return the exception for an error in a webhook's answer of HTTP 2xx.

    An error that Slack does not name is a refusal, because another try might post twice: a webhook cannot be
    asked what it has posted.
    """
    if re.fullmatch("[a-z_]+", error):
        return refusal(status, error, headers, POST_REMEDIES, unsure)
    what = "a web page" if error.startswith("<") else "an error"
    return SlackRefused(
        f"The webhook answered with {what} (HTTP {status}, {error!r}): check its address, and that no proxy"
        " asks for a login"
    )
