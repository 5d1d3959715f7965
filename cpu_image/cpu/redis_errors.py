"""Why a command fails on Redis, and the remedy: one table for the commands, the wall and the reports.

People see only the texts of this table: Redis' own errors may quote what was sent, and those of redis-py the
address.
"""

import re
from typing import Literal, NamedTuple

# By its modules, because in a pod the package's own code is not run: see cpu.fast_imports.
from redis import exceptions

from cpu.errors import CpuError, PermanentError, TemporaryError


class Cause(NamedTuple):
    """A row of the table: how to recognize the cause, and the text that people see."""

    pattern: str
    """A regular expression."""
    retry: Literal["soon", "later", "never"]
    """`soon`: it may pass within seconds; `later`: another pod may succeed; `never`: none can."""
    text: str
    """The cause, a colon, and the remedy."""

    def error(self) -> CpuError:
        """Return the error to raise, whose exit code says whether another pod may succeed."""
        return (PermanentError if self.retry == "never" else TemporaryError)(self.text)


_PIPELINE = re.compile("^Command # .*? of pipeline caused error: ", re.DOTALL)
_QUOTED = re.compile("'.*'|`.*`", re.DOTALL)
_AWAY = (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.RedisClusterException)

_TLS_REMEDIES = {
    "redis": "if Redis requires TLS, REDIS_URL must begin with rediss://",
    "rediss": "if Redis does not use TLS, REDIS_URL must begin with redis://",
}
_CUT_OFF = {"redis": "(?i)clos|reset", "rediss": "(?i)clos|reset|timed out|EOF"}
"""What is seen if only one side speaks TLS. A Redis without it waits for the rest of a command."""

CLUSTER = "Redis is a cluster: REDIS_URL must begin with redis+cluster:// or rediss+cluster://"

CAUSES = [
    Cause(
        r"\bNOAUTH\b",
        "later",
        "Redis wants a password, and REDIS_URL has none: it must be like redis://:PASSWORD@HOST:6379/0",
    ),
    Cause(
        "without any password configured|no password is set",
        "later",
        "REDIS_URL has a password, and Redis has none: take it out there, or set one with requirepass",
    ),
    Cause(
        r"\bWRONGPASS\b|\bAuth\w+Error\b",
        "later",
        "Redis rejects the user or the password in REDIS_URL: they must be those of its ACL or requirepass",
    ),
    Cause(
        r"\bNOPERM\b|ACL failure in script|EXEC without MULTI",
        "never",
        "the user in REDIS_URL lacks the right to a command or a key in Redis: it needs those of user cpu"
        " (the wall and reports: of user wall) in scripts/cluster/redis-users.acl",
    ),
    Cause(r"^redis .*\b(MOVED|ASK)\b", "never", CLUSTER),
    Cause(
        r"\b(MOVED|ASK|TRYAGAIN)\b|TTL exhausted",
        "soon",
        "Redis Cluster is moving slots from node to node: try again when it is done",
    ),
    Cause(
        "Cluster mode is not enabled|cluster support disabled",
        "never",
        "Redis is not a cluster: REDIS_URL must begin with redis:// or rediss://, without +cluster",
    ),
    Cause(
        r"\bCLUSTERDOWN\b|not covered",
        "soon",
        "Redis Cluster does not serve all slots: each needs a primary that is up (see CLUSTER INFO)",
    ),
    Cause(
        r"\bCROSSSLOT\b",
        "never",
        "Redis keeps the keys of one CPU in several slots: REDIS_URL must lead to Redis Cluster itself, as"
        " redis+cluster://, or to a proxy that keeps keys with the same {...} together",
    ),
    Cause(
        "DB index|SELECT is not allowed|can only be 0 in cluster mode",
        "never",
        "Redis has no database of the number at the end of REDIS_URL: 0 always exists, and a cluster has no"
        " other",
    ),
    Cause(
        r"\bWRONGTYPE\b",
        "never",
        "a key of this start run has a type that the CPUs do not use: choose another name for the start run,"
        " or a database that nothing else writes to",
    ),
    Cause(
        r"\bOOM\b",
        "later",
        "Redis has no memory left: raise its maxmemory, or wait until unused start runs expire",
    ),
    Cause(
        r"\b(READONLY|MASTERDOWN)\b",
        "soon",
        "Redis is a replica, which takes no writes: REDIS_URL must lead to the primary, unless a failover is"
        " under way",
    ),
    Cause(
        r"\bNOREPLICAS\b",
        "soon",
        "Redis takes no writes with so few replicas: bring them back, or lower its min-replicas-to-write",
    ),
    Cause(r"\bLOADING\b", "soon", "Redis is still loading its data: try again when it has finished"),
    Cause(
        r"\bMISCONF\b",
        "soon",
        "Redis cannot save its data and takes no writes: repair or free its disk (its log says more)",
    ),
    Cause(
        r"\bBUSY\b",
        "soon",
        "Redis is busy with a script: wait until it ends, or end it with SCRIPT KILL",
    ),
    Cause(
        r"\bNOSCRIPT\b",
        "soon",
        "Redis has lost the CPUs' script: nothing may run SCRIPT FLUSH all the time, and a proxy must send"
        " SCRIPT LOAD and EVALSHA to the same server",
    ),
    Cause(
        "(?i)unknown (sub)?command",
        "never",
        "Redis does not know a command that the CPUs need: it must be Redis or Valkey, with none of the"
        " commands in scripts/cluster/redis-users.acl renamed or removed",
    ),
    Cause(
        "max number of clients|Connection not ready",
        "soon",
        "Redis takes no further connection: raise its maxclients, or run fewer CPUs at once",
    ),
    Cause(
        "CERTIFICATE_VERIFY_FAILED|certificate verify failed",
        "later",
        "Redis' TLS certificate is not trusted: name its authority in REDIS_URL, as ?ssl_ca_certs=FILE or"
        " ?ssl_ca_data=PEM, and the host as in the certificate",
    ),
    Cause(
        "WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE",
        "later",
        "the server that REDIS_URL leads to does not use TLS: REDIS_URL must begin with redis://",
    ),
    Cause(
        r"\bInvalidResponse\b",
        "later",
        "the server that REDIS_URL leads to is not Redis: host and port must be those of Redis",
    ),
]
"""The first row counts whose pattern is found in `_searchable` of the error."""


def find_cause(error: Exception, url: str) -> Cause:
    """Return the row for an error of redis-py, or a new one if the table has none."""
    scheme = url.partition("://")[0]
    searchable = _searchable(error, scheme)
    for cause in CAUSES:
        if re.search(cause.pattern, searchable):
            return cause
    if isinstance(error, _AWAY):
        reason = _reason(error)
        is_cut_off = scheme in _CUT_OFF and re.search(_CUT_OFF[scheme], reason)
        tls = f" ({_TLS_REMEDIES[scheme]})" if is_cut_off else ""
        text = f"Redis does not answer ({reason}): is it up, and does REDIS_URL lead to it?{tls}"
        return Cause("", "soon", text)
    return Cause("", "later", f"Redis rejects a command with {_code(error)}: see its documentation")


def _searchable(error: Exception, scheme: str) -> str:
    """Return the scheme, and of the error and its causes code, class and text, without what they quote."""
    words = [scheme.replace("rediss", "redis")]
    cause: BaseException | None = error
    while cause:
        text = _QUOTED.sub("", _PIPELINE.sub("", str(cause)))
        words += [str(getattr(cause, "status_code", None)), type(cause).__name__, text]
        cause = cause.__cause__
    return " ".join(words)


def _reason(error: BaseException) -> str:
    """Return why Redis is away in the words of the operating system; redis-py's would show the address."""
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, exceptions.TimeoutError):
        return "timed out"
    return "it closed the connection" if "closed by server" in str(error) else type(error).__name__


def _code(error: Exception) -> str:
    """Return the error's code, such as WRONGTYPE; its text might quote what was sent."""
    word = _PIPELINE.sub("", str(error)).partition(" ")[0]
    code = word if re.fullmatch("[A-Z]+", word) else getattr(error, "status_code", None)
    return code or type(error).__name__
