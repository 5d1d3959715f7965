"""What a pod's result says, in a few words for people: in tasks' logs and in the notes of runs."""

from __future__ import annotations

from typing import Any


def happened(result: Any) -> str:
    """What has happened, as ``acc +1 → acc 5, pc 2``; empty where there is nothing to say.

    A result comes from outside: whatever it is, nothing is raised. In results of older versions `acc` and
    `pc` are integers.
    """
    match result:
        case {"status": "stored", "instructions": int(number)}:
            warning = f"; warning: {result['warning']}" if isinstance(result.get("warning"), str) else ""
            return f"stored {number} instruction{'s' * (number != 1)}{warning}"
        case {"status": "cancelled"}:
            return "cancelled: the CPUs stop at their next cycle"
        case {"status": "running" | "over" as status, "due": list(due), "answers": list(answers)}:
            return f"{status}: {len(due)} due, {len(answers)} with an answer"
        case {"status": "invalid"}:
            return "nothing to swap"
        case {"status": "stopped", "acc": str() | int() as acc, "pc": str() | int() as pc}:
            return f"told to stop: acc {acc}, pc {pc}"
        case {"status": "ok", "cycle": 0, "swap": {"line": line, "before": before, "after": after}}:
            return f"loaded: line {line}, {before} → {after}"
        case {"status": "ok", "cycle": 0}:
            return "loaded: the program as written"
        case {
            "status": "ok" | "loop" | "end" | "fault" as status,
            "instruction": str(instruction),
            "acc": str() | int() as acc,
            "pc": str() | int() as pc,
        }:
            stop = "" if status == "ok" else f"{status}: "
            return f"{_cycles(result)}{instruction} → {stop}acc {acc}, pc {pc}"
    return ""


def _cycles(result: dict[str, Any]) -> str:
    """``cycles 1–100:`` where the pod executed more than one."""
    match result:
        case {"first": int(first), "cycle": int(last)} if first < last:
            return f"cycles {first}–{last}: "
    return ""
