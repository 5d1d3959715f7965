"""The Lua scripts that Redis runs; each changes a start run or a CPU in one atomic step.

The first write of each script is a command that Redis refuses when its memory is full: it does not stop a
script that has begun to write. Program counters and accumulators stay strings: Lua's numbers are exact to
53 bits only.
"""

from cpu.records import FACTS

_IS_WHOLE = f"""
-- Return whether Redis still has all of a start run (see Keys: "what belongs together").
-- KEYS: 1 facts (hash), 2 program (list), 3 stops (hash)
local function is_whole()
  local facts = redis.call('HMGET', KEYS[1], {str(FACTS)[1:-1]})
  for i = 1, {len(FACTS)} do
    if not facts[i] then
      return false
    end
  end
  local stops = math.max(tonumber(facts[2]), tonumber(redis.call('HGET', KEYS[1], 'stops') or 0))
  return redis.call('LLEN', KEYS[2]) == tonumber(facts[1]) and redis.call('HLEN', KEYS[3]) >= stops
end
"""

STORE = (
    _IS_WHOLE
    + """
-- Store the program and the settings of a start run, unless they are stored.
-- KEYS: 1 facts (hash), 2 program (list), 3 stops (hash)
-- ARGV: 1 TTL in seconds, 2 digest, 3 length, 4 cpus, 5 parts, 6 keep_going, 7 cycles, 8... instructions
-- Returns 1 if they are stored now or were before; 0 if another program or other settings are stored;
-- nil if Redis has lost a part of the start run.
local digest = redis.call('HGET', KEYS[1], 'digest')
if digest and digest ~= ARGV[2] then
  return 0
elseif redis.call('EXISTS', KEYS[1], KEYS[2], KEYS[3]) > 0 and not is_whole() then
  return false
end
if not digest then
  local now = redis.call('TIME')
  redis.call('HSET', KEYS[1], 'digest', ARGV[2], 'length', ARGV[3], 'cpus', ARGV[4],
    'parts', ARGV[5], 'keep_going', ARGV[6], 'cycles', ARGV[7],
    'stored', string.format('%s.%06d', now[1], now[2]),
    'stops', 0, 'stopped', 0, 'ended', 0)
  redis.call('DEL', KEYS[2], KEYS[3])
  for i = 8, #ARGV do
    redis.call('RPUSH', KEYS[2], ARGV[i])
  end
end
for i = 1, 3 do
  redis.call('EXPIRE', KEYS[i], ARGV[1])
end
return 1
"""
)

CANCEL = """
-- Make all CPUs of a start run stop at their next cycle.
-- KEYS: 1 facts (hash)
-- Returns 1; 0 if there is no such start run.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
redis.call('HSET', KEYS[1], 'cancelled', '1')
return 1
"""

STOP = (
    _IS_WHOLE
    + """
-- Record a CPU's stop and decide its verdict, once: later calls for the same CPU return the first verdict.
-- KEYS: 1 facts (hash), 2 program (list), 3 stops (hash)
-- ARGV: 1 TTL in seconds, 2 CPU number, 3 '1' for a candidate, 4 '1' for a candidate that ended
-- Returns 'verdict:time', and 1 if this stop ended the start run, else 0; nil if there is no such start run,
-- or Redis has lost a part of it.
local facts = redis.call('HMGET', KEYS[1], 'cpus', 'parts', 'keep_going', 'cancelled')
if not is_whole() then
  return false
end
local cpus, parts, keep_going = tonumber(facts[1]), facts[2], facts[3] == '1'

local function decide()
  if facts[4] then
    return ''
  elseif ARGV[2] == '0' then
    return string.find(parts, '1') and 'part1' or ''
  end
  local stopped = redis.call('HINCRBY', KEYS[1], 'stopped', ARGV[3])
  local ended = redis.call('HINCRBY', KEYS[1], 'ended', ARGV[4])
  local first = ARGV[4] == '1' and redis.call('HSETNX', KEYS[1], 'answer', ARGV[2]) == 1
  if not string.find(parts, '2') then
    return ''
  elseif first or (ARGV[4] == '1' and keep_going) then
    return 'part2'
  elseif stopped == cpus and ended == 0 and redis.call('HSETNX', KEYS[1], 'none', ARGV[2]) == 1 then
    return 'none'
  end
  return ''
end

-- Return whether all CPUs have stopped, or this stop is an answer and no other is missing.
local function is_over(verdict)
  local asked1, asked2 = string.find(parts, '1'), string.find(parts, '2')
  if redis.call('HLEN', KEYS[3]) >= (asked1 and 1 or 0) + (asked2 and cpus or 0) then
    return true
  end
  local first = redis.call('HGET', KEYS[3], '0') or ''
  if verdict == '' or (asked1 and string.sub(first, 1, 6) ~= 'part1:') then
    return false
  end
  local counted = redis.call('HMGET', KEYS[1], 'stopped', 'answer')
  return not asked2 or tonumber(counted[1]) == cpus or (counted[2] and not keep_going)
end

local stop = redis.call('HGET', KEYS[3], ARGV[2])
if not stop then
  local now = redis.call('TIME')
  local verdict = decide()
  stop = verdict .. ':' .. string.format('%s.%06d', now[1], now[2])
  redis.call('HSET', KEYS[3], ARGV[2], stop)
  redis.call('HSET', KEYS[1], 'stops', redis.call('HLEN', KEYS[3]))
  if is_over(verdict) then
    redis.call('HSETNX', KEYS[1], 'over', ARGV[2])
  end
end
for i = 1, 3 do
  redis.call('EXPIRE', KEYS[i], ARGV[1])
end
return {stop, redis.call('HGET', KEYS[1], 'over') == ARGV[2] and 1 or 0}
"""
)

LOAD = """
-- Create a CPU, or replace it.
-- KEYS: 1 registers (hash), 2 visited (bitmap)
-- ARGV: 1 TTL in seconds, 2 '1' to keep a CPU that exists, 3 status, 4 result
-- Returns 1; nil if the CPU to be kept has lost its registers or its visited set.
if ARGV[2] == '1' then
  local cycle = redis.call('HGET', KEYS[1], 'cycle') or '0'
  if redis.call('BITCOUNT', KEYS[2]) ~= tonumber(cycle) then
    return false
  end
end
if ARGV[2] == '0' or redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'cycle', '0', 'pc', '0', 'acc', '0',
    'status', ARGV[3], 'first', '0', 'result', ARGV[4])
  local now = redis.call('TIME')
  redis.call('HSETNX', KEYS[1], 'loaded', string.format('%s.%06d', now[1], now[2]))
  redis.call('DEL', KEYS[2])
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[1])
return 1
"""

COMMIT = """
-- Write back the cycles of one exec, once: registers, cycle counter, visited set and result together.
-- The guard: the CPU is right before the first of these cycles, and its visited set is complete.
-- KEYS: 1 registers (hash), 2 visited (bitmap)
-- ARGV: 1 TTL in seconds, 2 first cycle, 3 the cycle before it, 4 last cycle, 5 pc, 6 acc, 7 status,
--       8 result, 9... addresses executed
-- Returns the result kept for that first cycle: this one, or that of an earlier commit whose reply was
-- lost; nil if the guard does not hold.
local kept = redis.call('HMGET', KEYS[1], 'first', 'cycle', 'status', 'result')
if kept[1] == ARGV[2] then
  return kept[4]
end
if kept[2] ~= ARGV[3] or kept[3] ~= 'ok' or redis.call('BITCOUNT', KEYS[2]) ~= tonumber(ARGV[3]) then
  return false
end
for i = 9, #ARGV do
  redis.call('SETBIT', KEYS[2], ARGV[i], 1)
end
redis.call('HSET', KEYS[1], 'cycle', ARGV[4], 'pc', ARGV[5], 'acc', ARGV[6],
  'status', ARGV[7], 'first', ARGV[2], 'result', ARGV[8])
redis.call('EXPIRE', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[1])
return ARGV[8]
"""
