"""What Redis refuses with, and what helps: one table for every command, the wall and the reports.

Only these texts are told. Redis' own might quote what was sent, and redis-py's name the address.
"""

import re
from typing import Literal, NamedTuple

# By its modules, as in a pod the package itself is not run: see cpu.fast_imports.
from redis import exceptions

from cpu.errors import CpuError, PermanentError, TemporaryError

Then = Literal["wait", "later", "never"]
"""`wait`: it may pass within seconds; `later`: another try may help (exit code 1); `never`: none can (2)."""


class Refusal(NamedTuple):
    """A row: what to find in the error, whether it may pass, and the cause and the remedy in a sentence."""

    pattern: str
    then: Then
    text: str


# What is cut out of an error's text: the command in a pipeline, and quotations.
PIPELINE = re.compile("^Command # .*? of pipeline caused error: ", re.DOTALL)
QUOTED = re.compile("'.*'|`.*`", re.DOTALL)
AWAY = (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.RedisClusterException)

TLS_HINTS = {
    "redis": "where it wants TLS, it must begin with rediss://",
    "rediss": "where Redis has no TLS, it must begin with redis://",
}
CUT_OFF = {"redis": "(?i)clos|reset", "rediss": "(?i)clos|reset|timed out|EOF"}
"""How it looks when only one of the two speaks TLS: Redis without waits for the rest of a command."""

CLUSTER = "Redis is a cluster: REDIS_URL must begin with redis+cluster:// or rediss+cluster://"

# The first row that fits counts. Searched is what `_words` makes of the error.
REFUSALS = [
    Refusal(
        r"\bNOAUTH\b",
        "later",
        "Redis wants a password, and REDIS_URL has none: it must be like redis://:PASSWORD@HOST:6379/0",
    ),
    Refusal(
        "without any password configured|no password is set",
        "later",
        "REDIS_URL has a password, and Redis has none: take it out there, or set one with requirepass",
    ),
    Refusal(
        r"\bWRONGPASS\b|\bAuth\w+Error\b",
        "later",
        "Redis refuses the user or the password in REDIS_URL: they must be those of its ACL or requirepass",
    ),
    Refusal(
        r"\bNOPERM\b|ACL failure in script|EXEC without MULTI",
        "never",
        "the user in REDIS_URL lacks the right to a command or a key in Redis: it needs those of user cpu"
        " (of user wall, for people who look) in scripts/cluster/redis-users.acl",
    ),
    Refusal(r"^redis .*\b(MOVED|ASK)\b", "never", CLUSTER),
    Refusal(
        r"\b(MOVED|ASK|TRYAGAIN)\b|TTL exhausted",
        "wait",
        "Redis Cluster is moving slots from node to node: try again when it is done",
    ),
    Refusal(
        "Cluster mode is not enabled|cluster support disabled",
        "never",
        "Redis is no cluster: REDIS_URL must begin with redis:// or rediss://, without +cluster",
    ),
    Refusal(
        r"\bCLUSTERDOWN\b|not covered",
        "wait",
        "Redis Cluster does not serve all slots: each needs a primary that is up (see CLUSTER INFO)",
    ),
    Refusal(
        r"\bCROSSSLOT\b",
        "never",
        "Redis keeps the keys of one CPU in several slots: REDIS_URL must lead to Redis Cluster itself, as"
        " redis+cluster://, or to a proxy that keeps keys with the same {...} together",
    ),
    Refusal(
        "DB index|SELECT is not allowed|can only be 0 in cluster mode",
        "never",
        "Redis has no database of the number at the end of REDIS_URL: 0 is always there, and all that a"
        " cluster has",
    ),
    Refusal(
        r"\bWRONGTYPE\b",
        "never",
        "a key of this start run holds something that is not a CPU's: take another name for the start run,"
        " or a database that nobody else writes to",
    ),
    Refusal(
        r"\bOOM\b",
        "later",
        "Redis has no memory left: raise its maxmemory; start runs that nobody uses expire by themselves",
    ),
    Refusal(
        r"\b(READONLY|MASTERDOWN)\b",
        "wait",
        "Redis is a replica, which takes no writes: REDIS_URL must lead to the primary, unless a failover is"
        " under way",
    ),
    Refusal(
        r"\bNOREPLICAS\b",
        "wait",
        "Redis takes no writes with so few replicas: bring them back, or lower its min-replicas-to-write",
    ),
    Refusal(r"\bLOADING\b", "wait", "Redis is still loading its data: try again when it has"),
    Refusal(
        r"\bMISCONF\b",
        "wait",
        "Redis cannot save its data and takes no writes: mend or free its disk (its log tells more)",
    ),
    Refusal(
        r"\bBUSY\b",
        "wait",
        "Redis is busy with somebody's script: wait for its end, or end it with SCRIPT KILL",
    ),
    Refusal(
        r"\bNOSCRIPT\b",
        "wait",
        "Redis has forgotten the CPUs' script: nobody may run SCRIPT FLUSH all the time, and a proxy must"
        " send SCRIPT LOAD and EVALSHA to the same server",
    ),
    Refusal(
        "(?i)unknown (sub)?command",
        "never",
        "Redis does not know a command that the CPUs need: it must be Redis or Valkey, with no command"
        " renamed or left out (scripts/cluster/redis-users.acl lists them)",
    ),
    Refusal(
        "max number of clients|Connection not ready",
        "wait",
        "Redis takes no further connection: raise its maxclients, or run fewer CPUs at once",
    ),
    Refusal(
        "CERTIFICATE_VERIFY_FAILED|certificate verify failed",
        "later",
        "Redis' TLS certificate is not trusted: name its authority in REDIS_URL, as ?ssl_ca_certs=FILE or"
        " ?ssl_ca_data=PEM, and the host as in the certificate",
    ),
    Refusal(
        "WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE",
        "later",
        "what answers where REDIS_URL leads to speaks no TLS: REDIS_URL must begin with redis://",
    ),
    Refusal(
        r"\bInvalidResponse\b",
        "later",
        "what answers where REDIS_URL leads to is not Redis: host and port must be those of Redis",
    ),
]


def refusal_of(error: Exception, url: str) -> Refusal:
    """Return the row for an error of redis-py; one made for it where the table has none."""
    scheme = url.partition("://")[0]
    words = _words(error, scheme)
    for row in REFUSALS:
        if re.search(row.pattern, words):
            return row
    if isinstance(error, AWAY):
        reason = _reason(error)
        tls = f" ({TLS_HINTS[scheme]})" if scheme in TLS_HINTS and re.search(CUT_OFF[scheme], reason) else ""
        text = f"Redis does not answer ({reason}): is it up, and does REDIS_URL lead to it?{tls}"
        return Refusal("", "wait", text)
    return Refusal("", "later", f"Redis refuses a command: {_code(error)} (its documentation tells more)")


def error_of(refusal: Refusal) -> CpuError:
    """Return the error to raise, with the exit code that goes with it."""
    return (PermanentError if refusal.then == "never" else TemporaryError)(refusal.text)


def _words(error: Exception, scheme: str) -> str:
    """Return the scheme, and of the error and what it came from: code, class and text, without quotations."""
    words = [scheme.replace("rediss", "redis")]
    cause: BaseException | None = error
    while cause:
        text = QUOTED.sub("", PIPELINE.sub("", str(cause)))
        words += [str(getattr(cause, "status_code", None)), type(cause).__name__, text]
        cause = cause.__cause__
    return " ".join(words)


def _reason(error: BaseException) -> str:
    """Return why Redis is away, in the system's words; redis-py's own would tell the address."""
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, exceptions.TimeoutError):
        return "timed out"
    return "it closed the connection" if "closed by server" in str(error) else type(error).__name__


def _code(error: Exception) -> str:
    """Return the kind of an error that the table does not have: its text may quote what was sent."""
    word = PIPELINE.sub("", str(error)).partition(" ")[0]
    code = word if re.fullmatch("[A-Z]+", word) else getattr(error, "status_code", None)
    return code or type(error).__name__
