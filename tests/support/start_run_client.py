"""A start run for tests: the commands of the pods, called in this process."""

from dataclasses import dataclass, field
from itertools import count

from cpu.commands import Commands
from cpu.program import parse
from cpu.redis_client import Client
from cpu.result import Result
from cpu.start_run import Settings
from tests.support.solver import EXAMPLE

_numbers = count(1)


@dataclass
class StartRunClient(Commands):
    """The commands on one start run, by default one with a new name."""

    client: Client
    start: str = field(default_factory=lambda: f"start-{next(_numbers)}")
    ttl: int = 60

    def store_text(
        self, text: str = EXAMPLE, parts: str = "12", *, keep_going: bool = False, cycles: int = 1
    ) -> Result:
        """Store the program of this text."""
        return self.store(parse(text), Settings(parts, keep_going, cycles))

    def run(self, cpu: int) -> Result:
        """Load a CPU, execute cycles until it stops, and return its last result."""
        loaded = self.load(cpu)
        return self.execute(cpu, 1, 10**6) if loaded["status"] == "ok" else loaded

    def dump(self) -> dict[str, object]:
        """Return everything that Redis holds, without times."""
        contents: dict[str, object] = {}
        for key in sorted(self.client.scan_iter()):
            name = key.decode()
            kind = self.client.type(key)
            if kind == b"hash":
                fields = {str(field): str(value) for field, value in self.client.hgetall(key).items()}
                for time in (b"stored", b"loaded"):
                    fields.pop(str(time), None)
                is_stops = name.endswith(":stops")
                contents[name] = {f: v.partition(":")[0] if is_stops else v for f, v in fields.items()}
            else:
                contents[name] = self.client.lrange(key, 0, -1) if kind == b"list" else self.client.get(key)
        return contents
