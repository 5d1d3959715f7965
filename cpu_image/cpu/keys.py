"""Where everything is in Redis."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """Every key of start run S and of its CPU number N.

    ====================== ====== ==================================================================
    Key                    Type   Holds
    ====================== ====== ==================================================================
    cpu:{S}:start          hash   digest    of the program and settings, to know them again
                                  length    instructions in the program
                                  cpus      candidates: CPUs with a swap to try
                                  parts     asked for: "1", "2" or "12"
                                  keep_going  "1": CPUs do not stop at the first answer
                                  cycles    per pod
                                  stored    Redis' time when it was stored, "seconds.microseconds"
                                  stops     number of entries in the hash of stops
                                  stopped   candidates that have stopped
                                  ended     candidates that have stopped with `end`
                                  answer    number of the first CPU that ended
                                  none      number of the CPU that was told that no swap ends it
                                  cancelled "1": all CPUs stop at their next cycle, and tell nothing
    cpu:{S}:program        list   "line:operation argument", one for each instruction; never changes
    cpu:{S}:stops          hash   CPU number -> "verdict:seconds.microseconds" of its stop
    cpu:{S:N}:registers    hash   cycle     the last one executed
                                  pc, acc   after it
                                  status    after it; only `ok` has a next cycle
                                  first     the cycle the last exec was asked for; 0 after load
                                  result    that exec's (or load's) result, one JSON line
                                  loaded    Redis' time when it was first made, as `stored`
    cpu:{S:N}:visited      bitmap bit A is set when address A has been executed
    ====================== ====== ==================================================================

    What belongs together: as many bits in `visited` as `cycle` says, for each cycle executes an address
    for the first time; as many instructions as `length`; as many stops as `stops`. Where one of these
    does not hold, Redis has lost a key.

    Each key expires when it has not been used for CPU_TTL seconds. On Redis Cluster the part in
    braces decides where a key lives: a start run in one slot, and each of its CPUs in one slot.
    Numbers are decimal strings; program counter and accumulator never become Lua numbers, which
    are exact to 53 bits only.
    """

    start: str
    cpu: int = 0

    @staticmethod
    def start_of(key: bytes) -> str:
        """Return the name of the start run that a key belongs to."""
        return key.decode().partition("{")[2].partition("}")[0].partition(":")[0]

    @property
    def name(self) -> str:
        """The CPU, as people are told of it."""
        return f"CPU {self.cpu} of start run {self.start}"

    @property
    def facts(self) -> str:
        return f"cpu:{{{self.start}}}:start"

    @property
    def program(self) -> str:
        return f"cpu:{{{self.start}}}:program"

    @property
    def stops(self) -> str:
        return f"cpu:{{{self.start}}}:stops"

    @property
    def of_start(self) -> list[str]:
        """The start run's keys, as its scripts take them."""
        return [self.facts, self.program, self.stops]

    @property
    def registers(self) -> str:
        return f"cpu:{{{self.start}:{self.cpu}}}:registers"

    @property
    def visited(self) -> str:
        return f"cpu:{{{self.start}:{self.cpu}}}:visited"

    @property
    def of_cpu(self) -> list[str]:
        """The CPU's keys, as its scripts take them."""
        return [self.registers, self.visited]
