"""The sentence of a result. No other module describes a result: the log of a pod, the note of a DAG run, the
XCom and `make pods` all show this sentence, which is a field of the result itself.
"""

from cpu.result import Result

STOPPED_BY = {
    "ok": "",
    "loop": ", which it has executed before: loop",
    "end": ", past the last instruction: end",
    "fault": ", outside of the program: fault",
}
"""Why a CPU has no next cycle, by its status, to follow its program counter."""
UNANSWERED = {
    "cancelled": "was cancelled",
    "lost": "cannot be answered",
    "running": "is not answered yet",
}
"""What becomes of a start run whose parts are not all answered, by the status of the result of `answers`."""
VERDICTS = {
    "part1": "this answers part 1",
    "part2": "this answers part 2",
    "none": "no swap ends this program",
}


def with_sentence(result: Result) -> Result:
    """Return the result with its sentence as its first field."""
    return {"sentence": sentence(result), **result}


def sentence(result: Result) -> str:
    """Return one line that says what the command did, "" for a result of an unknown form.

    A result may come from Redis, where another version left it, so that fields may be missing.
    """
    match result:
        case {"status": "stored", "start": start, "instructions": number, "candidates": str(bits)}:
            candidates = _count(int(bits, 16).bit_count(), "candidate")
            stored = f"stored {_count(number, 'instruction')} for start run {start}, {candidates}"
            return f"{stored}; warning: {result['warning']}" if "warning" in result else stored
        case {"status": str(status), "start": start, "parts": list()} if status in UNANSWERED:
            return f"start run {start} {UNANSWERED[status]}: {_story(result)}"
        case {"status": "answered", "parts": list()}:
            return _story(result)
        case {"status": "cancelled", "start": start}:
            return f"start run {start} is cancelled: its CPUs stop at their next cycle"
        case {"status": "running" | "over" as status, "start": start, "due": list(), "answers": list()}:
            return f"start run {start} is {status}: {_survey(result)}"
        case {"status": "planned", "items": run, "total": total, "pods": pods}:
            planned = f"items run {run} is planned: {_count(total, 'item')} in {_count(pods, 'pod')}"
            return f"{planned}; warning: {result['warning']}" if "warning" in result else planned
        case {"status": "solved", "items": run, "pod": pod, "done": done, "failed": failed}:
            items = f"items {result['first_item']} to {result['last_item']}"
            return f"pod {pod} of items run {run}, {items}: {done} done, {failed} failed"
        case {"items": _, "total": total, "done": done, "lost": lost, "doubled": doubled, "failed": failed}:
            counted = f"{_count(total, 'item')}: {done} done, {lost} lost, {doubled} doubled, {failed} failed"
            rates = f"{result['items_per_second']} items/s, {result['pods_per_second']} pods/s"
            return f"{counted}; {rates}"
        case {"cpu": cpu}:
            return "; ".join(filter(None, [_cpu(f"CPU {cpu}", result), _verdict(result), _account(result)]))
    return ""


def _survey(result: Result) -> str:
    lost, more = result.get("lost"), result.get("more")
    parts = [
        f"{_count(len(result['due']), 'CPU')} with a cycle due",
        f"{len(result['answers'])} with an answer",
        f"{len(lost)} with lost registers" if lost else "",
        f"not counting CPU {more} and later" if more is not None else "",
    ]
    return ", ".join(filter(None, parts))


def _story(result: Result) -> str:
    lost = ", ".join(map(str, result.get("lost", ())))
    parts = [
        f"{_count(result['instructions'], 'instruction')}, {_count(result['cpus'], 'CPU')}",
        *(f"Part {part}: {_answer(part, result)}" for part in result["parts"]),
        f"{result['stopped']} stopped" if result["status"] == "running" else "",
        f"Redis has lost registers of CPU {lost}" if lost else "",
    ]
    return " · ".join(filter(None, parts))


def _answer(part: int, result: Result) -> str:
    match result.get(f"part{part}", "none yet" if result["status"] == "running" else "no answer"):
        case {"swap": {"line": line, "before": before, "after": after}, "acc": acc}:
            several = f", the first of {ended} swaps that end it" if (ended := result["ended"]) > 1 else ""
            return f"{acc}, line {line}: {before} → {after}{several}"
        case {"status": "loop", "acc": acc}:
            return str(acc)
        case {"status": "end", "acc": acc}:
            return f"the program does not loop: it ends with {acc}"
        case {"status": "fault", "line": line, "pc": pc}:
            return f"the program does not loop: it faults at line {line} (pc {pc})"
        case None:
            return "no swap ends this program"
        case other:
            return str(other)


def _cpu(cpu: str, result: Result) -> str:
    match result:
        case {"status": "invalid"}:
            return f"{cpu} has nothing to swap: it runs no cycle"
        case {"status": "stopped", "cycle": cycle, "acc": acc, "pc": pc}:
            return f"{cpu} was stopped after cycle {cycle}: acc {acc}, pc {pc}"
        case {"status": status, "cycle": last, "first": first, "instruction": str(did), "acc": acc, "pc": pc}:
            cycles = f"cycle {last}" if first == last else f"cycles {first} to {last}"
            return f"{cpu}, {cycles}: {did} → acc {acc}, pc {pc}{STOPPED_BY.get(status, '')}"
        case {"status": "ok", "cycle": 0, "swap": {"line": line, "before": before, "after": after}}:
            return f"{cpu} loaded: line {line}, {before} → {after}"
        case {"status": "ok", "cycle": 0}:
            return f"{cpu} loaded: the program as written"
    return ""


def _verdict(result: Result) -> str:
    return VERDICTS.get(result.get("verdict", ""), "")


def _account(result: Result) -> str:
    match result:
        case {"seconds": seconds, "cpus": candidates, "stopped": stopped, "ended": ended}:
            counts = f"{stopped} of {_count(candidates, 'candidate')} stopped, {ended} ended"
            return f"{seconds} s after store: {counts}"
    return ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
