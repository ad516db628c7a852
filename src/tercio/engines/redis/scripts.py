"""The Lua that makes a verb one step. Time is the server's, in whole milliseconds or microseconds.

A number beyond 10^14 must go through `%.0f`: Lua writes it with an exponent else.
"""

import hashlib
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Script:
    """Lua, and the name that the server knows it by."""

    source: str
    sha: str


def _script(*parts: str) -> Script:
    source = "\n".join(part.strip() for part in parts)
    # The server names scripts by SHA-1; nothing rests on it.
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


_WRONG: Final = """
local function wrong()
  return redis.error_reply('WRONGTYPE Operation against a key holding the wrong kind of value')
end
"""

_MS: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
"""

_US: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
"""

INCR: Final = _script("""
local fresh = redis.call('EXISTS', KEYS[1]) == 0
redis.call('INCRBY', KEYS[1], ARGV[1])
if fresh then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return redis.call('GET', KEYS[1])
""")

EXPIRE: Final = _script(
    _WRONG,
    """
local kind = redis.call('TYPE', KEYS[1])['ok']
if kind == 'none' then return 0 end
if kind ~= 'string' then return wrong() end
if ARGV[1] == '' then redis.call('PERSIST', KEYS[1])
else redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return 1
""",
)

TTL: Final = _script(
    _WRONG,
    """
local kind = redis.call('TYPE', KEYS[1])['ok']
if kind ~= 'string' and kind ~= 'none' then return wrong() end
return redis.call('PTTL', KEYS[1])
""",
)

# ARGV: whether something is expected, what; whether it is stored, what; milliseconds or nothing.
COMPARE_AND_SET: Final = _script("""
local there = redis.call('GET', KEYS[1])
if ARGV[1] == '1' then
  if there ~= ARGV[2] then return 0 end
elseif there then return 0 end
if ARGV[3] == '0' then redis.call('DEL', KEYS[1])
elseif ARGV[5] == '' then redis.call('SET', KEYS[1], ARGV[4])
else redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5]) end
return 1
""")

# A lock is a hash: t is its token, o its owner. KEYS[2] is the last token of any lock: tokens grow
# with it, and with the clock, so that they also grow over a server that has forgotten everything.
ACQUIRE: Final = _script(
    _WRONG,
    _US,
    """
local held = redis.call('HMGET', KEYS[1], 't', 'o')
if held[1] then
  if held[2] ~= ARGV[1] then return false end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return held[1]
end
if redis.call('EXISTS', KEYS[1]) == 1 then return wrong() end
local token = math.max(now, tonumber(redis.call('GET', KEYS[2]) or 0) + 1)
token = string.format('%.0f', token)
redis.call('SET', KEYS[2], token)
redis.call('HSET', KEYS[1], 't', token, 'o', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return token
""",
)

RENEW: Final = _script("""
if redis.call('HGET', KEYS[1], 'o') ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
""")

RELEASE: Final = _script("""
if redis.call('HGET', KEYS[1], 'o') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
""")

# Windows. ARGV: limit, period in microseconds, cost. The answer: allowed, hits, microseconds left.
FIXED_WINDOW: Final = _script(
    _WRONG,
    _US,
    """
local limit, period, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local index = math.floor(now / period)
local ends = (index + 1) * period - now
local was = redis.call('HMGET', KEYS[1], 'f', 'h')
if not was[1] and redis.call('EXISTS', KEYS[1]) == 1 then return wrong() end
local hits = tonumber(was[1]) == index and tonumber(was[2]) or 0
if hits + cost > limit then return {0, hits, ends} end
hits = hits + cost
redis.call('HSET', KEYS[1], 'f', string.format('%.0f', index), 'h', string.format('%.0f', hits))
redis.call('PEXPIRE', KEYS[1], math.ceil(ends / 1000))
return {1, hits, ends}
""",
)

SLIDING_WINDOW: Final = _script(
    _WRONG,
    _US,
    """
local limit, period, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local index = math.floor(now / period)
local ends = (index + 1) * period - now
local was = redis.call('HMGET', KEYS[1], 's', 'c', 'p')
if not was[1] and redis.call('EXISTS', KEYS[1]) == 1 then return wrong() end
local current, previous = 0, 0
local then_ = tonumber(was[1])
if then_ == index then current, previous = tonumber(was[2]), tonumber(was[3])
elseif then_ == index - 1 then previous = tonumber(was[2]) end
local estimate = previous * (ends / period) + current
if estimate + cost > limit then return {0, math.ceil(estimate), ends} end
redis.call('HSET', KEYS[1], 's', string.format('%.0f', index),
  'c', string.format('%.0f', current + cost), 'p', string.format('%.0f', previous))
redis.call('PEXPIRE', KEYS[1], math.ceil((ends + period) / 1000))
return {1, math.ceil(estimate + cost), ends}
""",
)

# A list with one entry a call: m, its time, the hits before it and its own, so that to count is to
# subtract, and what is over is found by halving. The sum of all hits wraps around where a double
# ends being exact.
MOVING_WINDOW: Final = _script(
    _WRONG,
    _US,
    """
local limit, period, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local most = 2 ^ 52
local function call_at(index)
  local entry = redis.call('LINDEX', KEYS[1], index)
  if not entry then return nil end
  local _, _, time, before, own = string.find(entry, '^m(%d+):(%d+):(%d+)$')
  return tonumber(time), tonumber(before), tonumber(own)
end
local calls = redis.call('LLEN', KEYS[1])
local last, before, own = call_at(-1)
if calls > 0 and not last then return wrong() end
-- The server's clock may be set back: calls stay in order, and those far ahead are forgotten.
if last and last > now + period then
  redis.call('DEL', KEYS[1])
  calls, last = 0, nil
end
now = math.max(now, last or 0)
local total = last and (before + own) % most or 0
local low, high, step = 0, 0, 1
while high < calls and call_at(high) <= now - period do
  low, high, step = high + 1, high + step, 2 * step
end
high = math.min(high, calls)
while low < high do
  local middle = math.floor((low + high) / 2)
  if call_at(middle) <= now - period then low = middle + 1 else high = middle end
end
if low > 0 then redis.call('LTRIM', KEYS[1], low, -1) end
local oldest, first = call_at(0)
local hits = oldest and (total - first) % most or 0
local left = oldest and oldest + period - now or 0
if hits + cost > limit then return {0, hits, left} end
if cost == 0 then return {1, hits, left} end
redis.call('RPUSH', KEYS[1], string.format('m%.0f:%.0f:%.0f', now, total, cost))
redis.call('PEXPIRE', KEYS[1], math.ceil(period / 1000))
return {1, hits + cost, oldest and left or period}
""",
)

# A queue is a list; an item is q, the millisecond it ends at (15 digits, 0: never) and its body.
# Items end in their order as a rule, so dropping them at the head is enough. Where one does not,
# KEYS[2] holds the first moment at which the whole list has to be looked through.
_QUEUE: Final = """
local function ends_at(item) return tonumber(string.sub(item, 2, 16)) end
local function note(due)
  local noted = tonumber(redis.call('GET', KEYS[2]) or 0)
  if noted == 0 or due < noted then
    redis.call('SET', KEYS[2], string.format('%.0f', due), 'PX',
      string.format('%.0f', math.max(due - now, 0) + 86400000))
  end
end
local function look_through()
  local items = redis.call('LRANGE', KEYS[1], 0, -1)
  redis.call('DEL', KEYS[1], KEYS[2])
  local latest = 0
  for _, item in ipairs(items) do
    local ends = ends_at(item)
    if ends == 0 or ends > now then
      redis.call('RPUSH', KEYS[1], item)
      if ends == 0 then latest = math.huge
      elseif ends < latest then note(ends)
      else latest = ends end
    end
  end
end
local function tidy()
  while true do
    local head = redis.call('LINDEX', KEYS[1], 0)
    if not head then return true end
    if string.sub(head, 1, 1) ~= 'q' then return false end
    local ends = ends_at(head)
    if ends == 0 or ends > now then break end
    redis.call('LPOP', KEYS[1])
  end
  local due = redis.call('GET', KEYS[2])
  if due and tonumber(due) <= now then look_through() end
  return true
end
local function wrap(body, ttl)
  return string.format('q%015.0f', ttl == '' and 0 or now + ttl) .. body
end
"""

# ARGV: the item, milliseconds or nothing, the capacity.
PUSH: Final = _script(
    _WRONG,
    _MS,
    _QUEUE,
    """
if not tidy() then return wrong() end
if redis.call('LLEN', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
local item = wrap(ARGV[1], ARGV[2])
local tail, ends = redis.call('LINDEX', KEYS[1], -1), ends_at(item)
if tail and ends > 0 and (ends_at(tail) == 0 or ends_at(tail) > ends) then note(ends) end
redis.call('RPUSH', KEYS[1], item)
return 1
""",
)

PUT_BACK: Final = _script(
    _WRONG,
    _MS,
    _QUEUE,
    """
if not tidy() then return wrong() end
local item = wrap(ARGV[1], ARGV[2])
local head, ends = redis.call('LINDEX', KEYS[1], 0), ends_at(item)
if head and ends_at(head) > 0 and (ends == 0 or ends > ends_at(head)) then note(ends_at(head)) end
redis.call('LPUSH', KEYS[1], item)
return 1
""",
)

# The answer: the body, and the milliseconds it had left, -1 for no end.
POP: Final = _script(
    _WRONG,
    _MS,
    _QUEUE,
    """
if not tidy() then return wrong() end
local item = redis.call('LPOP', KEYS[1])
if not item then return false end
local ends = ends_at(item)
return {string.sub(item, 17), ends == 0 and -1 or ends - now}
""",
)

# A group is a sorted set; the score is the millisecond at which a membership ends.
_LIVE: Final = "string.format('(%.0f', now), '+inf'"

SIZE: Final = _script(
    _WRONG,
    _MS,
    _QUEUE,
    f"""
local kind = redis.call('TYPE', KEYS[1])['ok']
if kind == 'none' then return 0 end
if kind == 'zset' then return redis.call('ZCOUNT', KEYS[1], {_LIVE}) end
if kind ~= 'list' or not tidy() then return wrong() end
return redis.call('LLEN', KEYS[1])
""",
)

JOIN: Final = _script(
    _MS,
    """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
local fresh = not redis.call('ZSCORE', KEYS[1], ARGV[1])
local ends = ARGV[2] == '' and '+inf' or string.format('%.0f', now + ARGV[2])
redis.call('ZADD', KEYS[1], ends, ARGV[1])
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
if tonumber(last) == math.huge then redis.call('PERSIST', KEYS[1])
else redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', last)) end
return fresh and 1 or 0
""",
)

LEAVE: Final = _script(
    _MS,
    """
local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not ends then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
return tonumber(ends) > now and 1 or 0
""",
)

MEMBERS: Final = _script(_MS, f"return redis.call('ZRANGEBYSCORE', KEYS[1], {_LIVE})")
