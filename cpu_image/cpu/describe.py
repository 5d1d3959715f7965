"""A result in one sentence, for whoever reads a pod's log; programs read the line below it."""

from cpu.result import Result

WHERE = {
    "ok": "",
    "loop": ", where it has been before: loop",
    "end": ", past the last instruction: end",
    "fault": ", outside of the program: fault",
}
NEWS = {
    "part1": "this answers part 1",
    "part2": "this answers part 2",
    "none": "no swap ends this program",
}


def sentence(result: Result) -> str:
    """What has happened; empty for a result that is none of ours: it may be kept from another version."""
    match result:
        case {"status": "stored", "start": start, "instructions": number, "candidates": str(bits)}:
            swaps = int(bits, 16).bit_count()
            stored = (
                f"stored {_count(number, 'instruction')} for start run {start}, {swaps} with a swap to try"
            )
            return f"{stored}; warning: {result['warning']}" if "warning" in result else stored
        case {"status": "cancelled", "start": start}:
            return f"start run {start} is cancelled: its CPUs stop at their next cycle"
        case {"status": "running", "start": start, "due": list(due), "news": list(news)}:
            return f"start run {start} goes on: {_count(len(due), 'CPU')} due, {len(news)} with an answer"
        case {"status": "over", "start": start, "news": list(news)}:
            return f"start run {start} is over: {_count(len(news), 'CPU')} with an answer"
        case {"cpu": cpu}:
            return "; ".join(filter(None, [_cpu(f"CPU {cpu}", result), _news(result), _account(result)]))
    return ""


def _cpu(cpu: str, result: Result) -> str:
    match result:
        case {"status": "invalid"}:
            return f"{cpu} has nothing to swap: it runs no cycle"
        case {"status": "stopped", "cycle": cycle, "acc": acc, "pc": pc}:
            return f"{cpu} was told to stop after cycle {cycle}: acc {acc}, pc {pc}"
        case {"status": status, "cycle": last, "first": first, "instruction": str(did), "acc": acc, "pc": pc}:
            cycles = f"cycle {last}" if first == last else f"cycles {first} to {last}"
            return f"{cpu}, {cycles}: {did} → acc {acc}, pc {pc}{WHERE.get(status, '')}"
        case {"status": "ok", "cycle": 0, "swap": {"line": line, "before": before, "after": after}}:
            return f"{cpu} loaded: line {line}, {before} → {after}"
        case {"status": "ok", "cycle": 0}:
            return f"{cpu} loaded: the program as written"
    return ""


def _news(result: Result) -> str:
    return NEWS.get(result.get("verdict", ""), "")


def _account(result: Result) -> str:
    match result:
        case {"seconds": seconds, "cpus": swaps, "stopped": stopped, "ended": ended}:
            return f"{stopped} of {_count(swaps, 'swap')} stopped after {seconds} s, {ended} at the end"
    return ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
