"""What goes wrong with Slack, in two kinds: what a person must mend, and what another try may mend."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping


class SlackError(Exception):
    """Slack has not done what was asked, or has not said so. The message never holds a secret."""


class SlackRefused(SlackError):
    """The connection is wrong or Slack says no: trying again cannot help, a person must act."""


class SlackAway(SlackError):
    """Slack is away, too slow or asks for a pause: trying again later may help.

    `wait`: how many seconds Slack asks to wait before; None where it asks for none.
    """

    def __init__(self, said: str, wait: int | None = None) -> None:
        super().__init__(said)
        self.wait = wait


# https://docs.slack.dev/reference/methods/chat.postMessage#errors and
# https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors
_PASSING = {
    "accesslimited", "fatal_error", "internal_error", "ratelimited", "rate_limited", "request_timeout",
    "rollup_error", "service_unavailable", "team_added_to_org",
    # Somebody has just deleted the message that the thread begins with: another look does not find it.
    "cannot_reply_to_message", "invalid_thread_ts",
}  # fmt: skip
_NEW_TOKEN = "copy the bot token again from your app's page, OAuth & Permissions"  # noqa: S105 - a remedy
_NEW_HOOK = "make a new webhook on your app's page, Incoming Webhooks, and put its address in the connection"
_UNARCHIVE = "unarchive the channel or name another"
POSTING = {
    "account_inactive": _NEW_TOKEN,
    "action_prohibited": "ask a workspace admin to allow the app to post there",
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
    "restricted_action": "ask a workspace admin to allow the app to post there",
    "token_expired": _NEW_TOKEN,
    "token_revoked": _NEW_TOKEN,
}
LOOKING = POSTING | {
    "channel_not_found": "name the channel by its id (C0123456789), for its name cannot be looked at",
    "missing_scope": "give the app the scope channels:history, groups:history for a private channel, and"
    " install it again",
}
ATTACHING = POSTING | {"missing_scope": "give the app the scope files:write and install it again"}


def refusal(
    status: int, error: str, headers: Mapping[str, str], remedies: Mapping[str, str], unsure: str = ""
) -> SlackError:
    """What Slack's answer means that is no success: an HTTP status and Slack's own word.

    `remedies`: what helps against each word; `unsure`: what may have happened where Slack leaves it open.
    """
    said = f"(HTTP {status}, {error})"
    if status == 429:
        asked = {name.lower(): value for name, value in headers.items()}.get("retry-after", "")
        wait = int(asked) if re.fullmatch("[0-9]{1,6}", asked) else None
        return SlackAway(f"Slack asks for a pause {said}: try again in {wait or 'some'} seconds", wait)
    if status >= 500 or error in _PASSING:
        return SlackAway(f"Slack has a problem {said}{unsure}: try again later")
    if not re.fullmatch("[a-z_]+", error):
        return SlackAway(f"The answer is not Slack's {said}{unsure}: check the network, then try again")
    remedy = remedies.get(error, "see https://docs.slack.dev/reference/methods")
    return SlackRefused(f"Slack refuses {said}: {remedy}")


def error_in(body: str) -> str | None:
    """Return the error in a webhook's answer of HTTP 2xx, or None where it does not deny that it has posted.

    Chats that take Slack's webhooks answer `ok`, `{"ok":true}`, `{"success":true}`, `1` or nothing. An error
    is one of Slack's words, a JSON object or a sentence that says so (Teams), or a web page: that comes from
    a proxy and not from a chat.
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
    says_no = any(answer.get(key) is False for key in ("ok", "success"))
    return (error if isinstance(error, str) and error else body) if says_no or error else None


def not_posted(status: int, error: str, headers: Mapping[str, str], unsure: str) -> SlackError:
    """Return what the error in a webhook's answer of HTTP 2xx means: by Slack's own word, or else a refusal.

    A refusal, because another try might post twice: nobody can ask a webhook what it has posted.
    """
    if re.fullmatch("[a-z_]+", error):
        return refusal(status, error, headers, POSTING, unsure)
    what = "a web page" if error.startswith("<") else "an error"
    return SlackRefused(
        f"The webhook answers with {what} (HTTP {status}, {error!r}): check its address, and that no proxy"
        " asks for a login"
    )
