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

-- Field m of a correlation; nil if it is not there or cannot be read. A key that is broken must not stop a call over
-- many keys.
local function meta_of(key)
  local text = redis.pcall('HGET', key, 'm')
  if type(text) ~= 'string' then
    return nil
  end
  local readable, c = pcall(read_meta, text)
  return readable and c or nil
end

-- Writes in any case, so that a WAIT behind a removal vouches for it also when it is repeated and removes nothing.
local function mark_removal(gone)
  redis.call('SET', gone, string.format('%.0f', clock()), 'PX', 60000)
end

-- What a call answers that was sent long ago and came only now: its caller was told that it failed.
local function too_late(not_after)
  if clock() > tonumber(not_after) then
    return redis.error_reply('LATE the call came after the time of its caller')
  end
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
