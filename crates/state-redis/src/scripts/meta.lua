-- Put before every script: the clock, and fields m and s (see field.rs) as tables.

local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- A whole number as Redis takes it. Redis itself would print a number of Lua with 17 digits, which takes longer than
-- what is done with it.
local function whole(number)
  return string.format('%d', number)
end

local META, META_BYTES = '<i8i8i8i8i8i8I4I4I4I4i8i8i8', 88

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

-- Fragments of which one field o holds the names.
local CHUNK = 64

-- Last arrival and end of life of a correlation, and its field m; zeros and nil if it is not there or cannot be read. A
-- key that is broken must not stop a call over many keys.
local function times_of(key)
  local meta = redis.pcall('HGET', key, 'm')
  if type(meta) ~= 'string' or #meta ~= META_BYTES then
    return 0, 0
  end
  local last_updated, expires = struct.unpack('<i8i8', meta, 9)
  return last_updated, expires, meta
end

local STATE, STATE_BYTES = '<i8i8i8i8i8I4I4I4I4I4I4BB', 66

-- Field s of a correlation that has none: it is active in its first generation.
local function new_state(opened)
  return {opened = opened, look = 0, lease = 0, fence = 0, finished = 0, generation = 0, earlier = 0,
    settled_spans = 0, settled_logs = 0, stored_spans = 0, stored_logs = 0, closed = 0, full = 0}
end

local function read_state(text)
  local s = {}
  s.opened, s.look, s.lease, s.fence, s.finished, s.generation, s.earlier, s.settled_spans, s.settled_logs,
    s.stored_spans, s.stored_logs, s.closed, s.full = struct.unpack(STATE, text)
  return s
end

local function write_state(s)
  return struct.pack(STATE, s.opened, s.look, s.lease, s.fence, s.finished, s.generation, s.earlier, s.settled_spans,
    s.settled_logs, s.stored_spans, s.stored_logs, s.closed, s.full)
end

-- Fields m and s of a living correlation as tables, and what is in a further field that is asked for; nil if there is
-- none that can be read.
local function living(key, now, ...)
  local have = redis.pcall('HMGET', key, 'm', 's', ...)
  if have.err or not have[1] or #have[1] ~= META_BYTES or have[2] and #have[2] ~= STATE_BYTES then
    return nil
  end
  local c = read_meta(have[1])
  if c.expires > now then
    return c, have[2] and read_state(have[2]) or new_state(c.first_seen), have[3]
  end
end

local RECORD = '<I4I4I4i8I4I4I4I4'

-- Field e as a list of tables, oldest event first.
local function read_events(text)
  local events, at = {}, 1
  while at < #text do
    local e, delivered, note = {}, 0, 0
    e.generation, e.earlier, e.version, e.closed, e.spans, e.logs, delivered, note, at = struct.unpack(RECORD, text, at)
    e.delivered = string.sub(text, at, at + delivered - 1)
    e.note = string.sub(text, at + delivered, at + delivered + note - 1)
    at = at + delivered + note
    events[#events + 1] = e
  end
  return events
end

local function write_event(e)
  return struct.pack(RECORD, e.generation, e.earlier, e.version, e.closed, e.spans, e.logs, #e.delivered, #e.note)
    .. e.delivered .. e.note
end

-- Ends a claim that is not to be finished any more; the correlation is to be looked at from a time on.
local function end_claim(key, s, look)
  s.fence, s.lease, s.look = s.fence + 1, 0, look
  redis.call('HSET', key, 's', write_state(s))
end

-- Notes a place in an index, to be taken with all others of the call by put_places.
local function place(places, score, member)
  places[#places + 1] = whole(score)
  places[#places + 1] = member
end

local function put_places(index, places)
  if #places > 0 then
    redis.call('ZADD', index, unpack(places))
  end
end

local function remove_places(index, members)
  if #members > 0 then
    redis.call('ZREM', index, unpack(members))
  end
end

-- When a correlation that changed is quiet. A last arrival in the future is of a clock that has gone back.
local function quiet_at(c, now, grace)
  return math.min(c.last_updated, now) + grace
end

-- Writes in any case, so that a WAIT behind a removal vouches for it also when it is repeated and removes nothing.
local function mark_removal(gone)
  redis.call('SET', gone, whole(clock()), 'PX', '60000')
end

-- What a call answers that was sent long ago and came only now: its caller was told that it failed.
local function too_late(not_after)
  if clock() > tonumber(not_after) then
    return redis.error_reply('LATE the call came after the time of its caller')
  end
end

-- The member of the sorted sets: what follows the hash tag in the key of a correlation.
local function member_of(key)
  return string.sub(key, string.find(key, '}:', 1, true) + 2)
end

-- Notes that so many spans and log records have come to an account of the ledger, to be entered by enter_sums.
local function count_items(sums, account, spans, logs)
  if spans ~= 0 then
    local field = 'spans.' .. account
    sums[field] = (sums[field] or 0) + spans
  end
  if logs ~= 0 then
    local field = 'logs.' .. account
    sums[field] = (sums[field] or 0) + logs
  end
end

-- Keeps an index one to two minutes longer than a correlation in it, whose life ends at a time in microseconds; never
-- shortens its life. The first minute leaves it to the scripts to find that the correlation is gone, the second spares
-- most calls this write.
local function hold_index(key, time)
  local milliseconds = math.ceil(time / 1000) + 60000
  if redis.call('PEXPIRETIME', key) < milliseconds then
    redis.call('PEXPIREAT', key, whole(milliseconds + 60000))
  end
end

-- Has Redis free a correlation by itself a minute after a time: until then the scripts find it, and enter into the ledger
-- what was in it.
local function guard_key(key, time)
  redis.call('PEXPIREAT', key, whole(math.ceil(time / 1000) + 60000))
end

-- How long the ledger is kept after what was entered last: 30 days in microseconds.
local LEDGER_LIFE = 2592000000000

-- Enters what was counted into the ledger, and keeps it at least as long as a correlation that lives until a time.
local function enter_sums(ledger, sums, now, time)
  if next(sums) then
    for field, by in pairs(sums) do
      redis.call('HINCRBY', ledger, field, whole(by))
    end
    hold_index(ledger, math.max(now + LEDGER_LIFE, time or 0))
  end
end

-- Enters into the ledger that everything in a bucket without correlations has expired, where nobody saw it.
local function enter_unseen(ledger, exp, now)
  if redis.call('EXISTS', exp) == 1 then
    return
  end
  local sums = {}
  for _, account in ipairs({'pending', 'stored'}) do
    local spans, logs = unpack(redis.call('HMGET', ledger, 'spans.' .. account, 'logs.' .. account))
    spans, logs = tonumber(spans or 0), tonumber(logs or 0)
    count_items(sums, account, -spans, -logs)
    count_items(sums, 'expired.unseen', spans, logs)
  end
  enter_sums(ledger, sums, now)
end

-- Enters into the ledger that a correlation is gone: deleted if it was alive, else expired.
local function count_removed(sums, key, now)
  local have = redis.pcall('HMGET', key, 'm', 's', 'e')
  if have.err or not have[1] or #have[1] ~= META_BYTES or have[2] and #have[2] ~= STATE_BYTES then
    return
  end
  local c, s = read_meta(have[1]), have[2] and read_state(have[2]) or new_state(0)
  local pending_spans, pending_logs = c.spans - s.settled_spans, c.logs - s.settled_logs
  count_items(sums, 'pending', -pending_spans, -pending_logs)
  count_items(sums, 'stored', -s.stored_spans, -s.stored_logs)
  if c.expires > now then
    count_items(sums, 'deleted', pending_spans + s.stored_spans, pending_logs + s.stored_logs)
    return
  end
  local spans, logs = 0, 0
  local is_readable, events = pcall(read_events, have[3] or '')
  for _, e in ipairs(is_readable and events or {}) do
    spans, logs = spans + e.spans, logs + e.logs
  end
  count_items(sums, 'expired.pending', pending_spans, pending_logs)
  count_items(sums, 'expired.undelivered', spans, logs)
  count_items(sums, 'expired.stored', s.stored_spans - spans, s.stored_logs - logs)
end

-- Removes correlations and their places in the indexes, which are the first four keys of the call: time, exp, due, out;
-- the fifth is the ledger. Returns how many of them had a place by time.
local function remove(keys, now)
  if #keys == 0 then
    return 0
  end
  local members, sums = {}, {}
  for i, key in ipairs(keys) do
    members[i] = member_of(key)
    count_removed(sums, key, now)
  end
  enter_sums(KEYS[5], sums, now)
  redis.call('UNLINK', unpack(keys))
  for index = 2, 4 do
    redis.call('ZREM', KEYS[index], unpack(members))
  end
  return redis.call('ZREM', KEYS[1], unpack(members))
end
