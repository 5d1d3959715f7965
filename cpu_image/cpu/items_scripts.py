"""The Lua scripts of an items run; each changes its keys in one atomic step.

As in `cpu.redis_scripts`, the first write of each is a command that Redis refuses when its memory is full.
Each takes the keys of `cpu.keys.ItemsKeys.all`, in that order.
"""

MARKS = 200
"""How many entries a run's progress has at most, but for the first one."""

_IS_WHOLE = """
-- Return whether Redis still has all of an items run (see ItemsKeys: "what belongs together").
-- KEYS: 1 plan and tally (hash), 2 pods (bitmap), 3 bits (bitmap), 4 progress (list)
local function is_whole()
  local counted = redis.call('HMGET', KEYS[1], 'committed', 'done', 'marks')
  return counted[1] and counted[2] and counted[3]
    and redis.call('BITCOUNT', KEYS[2]) == tonumber(counted[1])
    and redis.call('BITCOUNT', KEYS[3]) == tonumber(counted[2])
    and redis.call('LLEN', KEYS[4]) == tonumber(counted[3])
end

local function refresh()
  for i = 1, 4 do
    redis.call('EXPIRE', KEYS[i], ARGV[1])
  end
end

local function now()
  local time = redis.call('TIME')
  return string.format('%s.%06d', time[1], time[2])
end
"""

PLAN = (
    _IS_WHOLE
    + """
-- Store the plan of an items run, unless it is stored.
-- ARGV: 1 TTL in seconds, 2 seed, 3 total, 4 per_pod, 5 pods
-- Returns 1 if it is stored now or was before; 0 if another plan is stored; nil if Redis has lost a part of
-- the run.
local plan = redis.call('HMGET', KEYS[1], 'seed', 'total', 'per_pod')
if redis.call('EXISTS', KEYS[1], KEYS[2], KEYS[3], KEYS[4]) > 0 then
  if not is_whole() then
    return false
  elseif plan[1] ~= ARGV[2] or plan[2] ~= ARGV[3] or plan[3] ~= ARGV[4] then
    return 0
  end
else
  redis.call('HSET', KEYS[1], 'seed', ARGV[2], 'total', ARGV[3], 'per_pod', ARGV[4], 'pods', ARGV[5],
    'planned', now(), 'committed', 0, 'repeated', 0, 'marks', 0, 'done', 0, 'failed', 0)
  -- At their full size at once: a string that grows takes up to twice its size.
  redis.call('SETBIT', KEYS[2], ARGV[5] - 1, 0)
  redis.call('SETBIT', KEYS[3], ARGV[3] - 1, 0)
end
refresh()
return 1
"""
)

COMMIT = (
    _IS_WHOLE
    + f"local MARKS = {MARKS}"
    + """
-- Count a pod's share, once: the bits of its items, the tally and the progress together.
-- ARGV: 1 TTL in seconds, 2 time of the plan, 3 pod, 4 number of counters, then for each counter its name and
--       what to add to it, then the items done
-- Returns 1; 0 if the share was counted before, which adds only to `repeated`; nil if there is no such plan,
-- or Redis has lost a part of the run.
local run = redis.call('HMGET', KEYS[1], 'planned', 'total', 'done', 'failed', 'committed')
if run[1] ~= ARGV[2] or not is_whole() then
  return false
end
local is_new = redis.call('SETBIT', KEYS[2], ARGV[3], 1) == 0
if is_new then
  local first_item = 5 + 2 * tonumber(ARGV[4])
  for i = first_item, #ARGV do
    redis.call('SETBIT', KEYS[3], ARGV[i], 1)
  end
  for i = 5, first_item - 1, 2 do
    redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1])
  end
  local pods = redis.call('HINCRBY', KEYS[1], 'committed', 1)
  local counted = redis.call('HMGET', KEYS[1], 'done', 'failed')
  local before, after = run[3] + run[4], counted[1] + counted[2]
  local time = now()
  redis.call('HSET', KEYS[1], 'last', time)
  if pods == 1 or math.floor(after * MARKS / run[2]) > math.floor(before * MARKS / run[2]) then
    redis.call('RPUSH', KEYS[4], string.format('%d:%d:%s', pods, after, time))
    redis.call('HINCRBY', KEYS[1], 'marks', 1)
  end
else
  redis.call('HINCRBY', KEYS[1], 'repeated', 1)
end
refresh()
return is_new and 1 or 0
"""
)
