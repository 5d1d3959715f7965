"""The keys in Redis, and what each of them holds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of start run S and of its CPU number N. `cpu.records` decodes what they hold.

    ====================== ====== ==================================================================
    Key                    Type   Holds
    ====================== ====== ==================================================================
    cpu:{S}:start          hash   the facts:
                                  digest    SHA-256 of the program and the settings
                                  length    instructions in the program
                                  cpus      how many candidates there are
                                  parts     to solve: "1", "2" or "12"
                                  keep_going  "1" if CPUs run on after the first answer, else "0"
                                  cycles    per pod
                                  stored    time of the store
                                  stops     number of entries in the hash of stops
                                  stopped   candidates that have stopped
                                  ended     candidates that have stopped with `end`
                                  answer    number of the first candidate that ended
                                  none      number of the CPU whose verdict is `none`
                                  over      number of the CPU with whose stop all parts were
                                            answered, or the last CPU stopped
                                  cancelled "1": all CPUs stop at their next cycle, without a verdict
    cpu:{S}:program        list   "line:operation argument" for each instruction; never changes
    cpu:{S}:stops          hash   CPU number -> "verdict:time" of its stop; the verdict may be empty
    cpu:{S:N}:registers    hash   cycle     the last one executed
                                  pc, acc   after it
                                  status    after it; only `ok` has a next cycle
                                  first     the cycle that the last exec began with; 0 after load
                                  result    of that exec or load, one line of JSON
                                  loaded    time of the first load
    cpu:{S:N}:visited      bitmap bit A is set if address A has been executed
    ====================== ====== ==================================================================

    What belongs together: as many bits in `visited` as `cycle` says, because each cycle executes an
    address for the first time; as many instructions as `length`; as many stops as `stops`. Otherwise
    Redis has lost a key.

    Each key expires when it has not been used for CPU_TTL seconds. On Redis Cluster the part in
    braces decides where a key lives: a start run in one slot, and each of its CPUs in one slot.
    Numbers are decimal strings. Times are Redis' own, as "seconds.microseconds" since 1970.
    """

    start: str
    cpu: int = 0

    @staticmethod
    def start_of(key: bytes) -> str:
        """Return the name of the start run that a key belongs to."""
        return key.decode().partition("{")[2].partition("}")[0].partition(":")[0]

    @property
    def name(self) -> str:
        """The CPU's name for people."""
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
        """The start run's keys, in the order in which its scripts take them."""
        return [self.facts, self.program, self.stops]

    @property
    def registers(self) -> str:
        return f"cpu:{{{self.start}:{self.cpu}}}:registers"

    @property
    def visited(self) -> str:
        return f"cpu:{{{self.start}:{self.cpu}}}:visited"

    @property
    def of_cpu(self) -> list[str]:
        """The CPU's keys, in the order in which its scripts take them."""
        return [self.registers, self.visited]


@dataclass(frozen=True, slots=True)
class ItemsKeys:
    """The keys of items run R. `cpu.items_records` decodes what they hold.

    ======================== ====== ================================================================
    Key                      Type   Holds
    ======================== ====== ================================================================
    cpu:{R}:items            hash   the plan:
                                    seed, total, per_pod, pods
                                    planned   time of the plan
                                    and what has been counted:
                                    committed pods whose shares are counted
                                    repeated  how often a share was to be counted again
                                    marks     number of entries in the progress
                                    last      time of the last commit
                                    done      items solved
                                    failed    items that a pod could not solve
                                    cycles    executed for both parts
                                    acc1, acc2  sums of the accumulators of part 1 and of part 2
                                    microseconds  of CPU time that the pods took to solve
                                    part1:S   items whose part 1 has the status S
                                    part2:X   items that `one`, `several` or `none` of the swaps end
                                    acc:B     items whose accumulator of part 2 is in bucket B
                                    cycles:B  items whose cycles are in bucket B
    cpu:{R}:items:pods       bitmap bit P is set if the share of pod P is counted
    cpu:{R}:items:bits       bitmap bit I is set if item I is done
    cpu:{R}:items:progress   list   "pods:items:time" of the first commit and of each that brings the
                                    items another 200th of the total nearer to their end
    ======================== ====== ================================================================

    What belongs together: as many bits in `pods` as `committed` says, as many in `bits` as `done`, and as
    many entries in `progress` as `marks`. Otherwise Redis has lost a key.

    Expiry, times and numbers are as those of a start run. All keys of a run are in one slot. A million
    items in 10,000 pods take 133 KB.
    """

    run: str

    @staticmethod
    def run_of(key: bytes) -> str:
        """Return the name of the items run that a key belongs to."""
        return key.decode().partition("{")[2].partition("}")[0]

    @property
    def facts(self) -> str:
        return f"cpu:{{{self.run}}}:items"

    @property
    def pods(self) -> str:
        return f"cpu:{{{self.run}}}:items:pods"

    @property
    def bits(self) -> str:
        return f"cpu:{{{self.run}}}:items:bits"

    @property
    def progress(self) -> str:
        return f"cpu:{{{self.run}}}:items:progress"

    @property
    def all(self) -> list[str]:
        """The run's keys, in the order in which its scripts take them."""
        return [self.facts, self.pods, self.bits, self.progress]
