-- Put before every script: the clock, and field m (see field.rs) as a table.

local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local META = '<i8i8i8i8i8i8i8i8i8i8i8i8i8'

local function read_meta(text)
  local c = {}
  c.first_seen, c.last_updated, c.expires, c.ttl, c.indexed, c.guard, c.fragments, c.spans, c.logs, c.errors,
    c.bytes, c.first_event, c.last_event = struct.unpack(META, text)
  return c
end

local function write_meta(c)
  return struct.pack(META, c.first_seen, c.last_updated, c.expires, c.ttl, c.indexed, c.guard, c.fragments, c.spans,
    c.logs, c.errors, c.bytes, c.first_event, c.last_event)
end

-- The member of the sorted sets: what follows the hash tag in the key of a correlation.
local function member(key)
  return string.sub(key, string.find(key, '}:', 1, true) + 2)
end

-- Keeps an index a minute longer than a correlation in it, whose life ends at a time in microseconds; never shortens
-- its life. The minute leaves it to the scripts to find that the correlation is gone.
local function hold_index(key, time)
  local milliseconds = string.format('%.0f', math.ceil(time / 1000) + 60000)
  if redis.call('PEXPIREAT', key, milliseconds, 'GT') == 0 and redis.call('PTTL', key) == -1 then
    redis.call('PEXPIREAT', key, milliseconds)
  end
end
