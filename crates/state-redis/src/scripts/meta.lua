-- Put before every script: the clock, and fields m and s (see field.rs).

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

-- What is in field s, value by value: a table of as many costs more than all that is done with it. One that is not there
-- is of a correlation that is active in its first generation, since it was opened.
local function read_state(text, opened)
  if text then
    return struct.unpack(STATE, text)
  end
  return opened, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
end

-- Fields m and s of a living correlation, and what is in a further field that is asked for; nil if there is none that can
-- be read. A key that is broken must not stop a call over many keys.
local function living(key, now, ...)
  local have = redis.pcall('HMGET', key, 'm', 's', ...)
  local m, s = have[1], have[2]
  if not have.err and m and #m == META_BYTES and (not s or #s == STATE_BYTES) and struct.unpack('<i8', m, 17) > now then
    return m, s, have[3]
  end
end

local RECORD = '<I4I4I4i8I4I4I4I4'

local function write_event(generation, earlier, version, closed, spans, logs, delivered, note)
  return struct.pack(RECORD, generation, earlier, version, closed, spans, logs, #delivered, #note) .. delivered .. note
end

-- Field e as a list of tables, oldest event first; text is the event as it is written.
local function read_events(text)
  local events, from = {}, 1
  while from < #text do
    local generation, earlier, version, closed, spans, logs, delivered, note, at = struct.unpack(RECORD, text, from)
    local to = at + delivered + note
    events[#events + 1] = {generation = generation, spans = spans, logs = logs, earlier = earlier, version = version,
      closed = closed, delivered = string.sub(text, at, at + delivered - 1),
      note = string.sub(text, at + delivered, to - 1), text = string.sub(text, from, to - 1)}
    from = to
  end
  return events
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
local function quiet_at(last_updated, now, grace)
  return math.min(last_updated, now) + grace
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

-- The member of the sorted sets: what follows the hash tag in the key of a correlation. All keys of a call have the same.
local member_from
local function member_of(key)
  member_from = member_from or string.find(key, '}:', 1, true) + 2
  return string.sub(key, member_from)
end

-- Notes that so many spans and log records have come to an account of the ledger, to be entered by enter_sums. What comes to
-- 'added' is received, kept and pending at once: three entries in one, in the call that is made most.
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
-- shortens its own, which is asked for unless it is known. Returns whether that was too short. The first minute leaves it
-- to the scripts to find that the correlation is gone, the second spares most calls this write.
local function hold_index(key, time, ends)
  local milliseconds = math.ceil(time / 1000) + 60000
  if (ends or redis.call('PEXPIRETIME', key)) < milliseconds then
    redis.call('PEXPIREAT', key, whole(milliseconds + 60000))
    return true
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
  local have = redis.call('HMGET', ledger, 'spans.added', 'logs.added', 'spans.pending', 'logs.pending', 'spans.stored',
    'logs.stored')
  for number = 1, 6 do
    have[number] = tonumber(have[number] or 0)
  end
  local pending_spans, pending_logs = have[1] + have[3], have[2] + have[4]
  count_items(sums, 'pending', -pending_spans, -pending_logs)
  count_items(sums, 'stored', -have[5], -have[6])
  count_items(sums, 'expired.unseen', pending_spans + have[5], pending_logs + have[6])
  enter_sums(ledger, sums, now)
end

-- Enters into the ledger that a correlation is gone: deleted if it was alive, else expired.
local function count_removed(sums, key, now)
  local have = redis.pcall('HMGET', key, 'm', 's', 'e')
  if have.err or not have[1] or #have[1] ~= META_BYTES or have[2] and #have[2] ~= STATE_BYTES then
    return
  end
  local expires = struct.unpack('<i8', have[1], 17)
  local all_spans, all_logs = struct.unpack('<I4I4', have[1], 53)
  local _, _, _, _, _, _, _, settled_spans, settled_logs, stored_spans, stored_logs = read_state(have[2])
  local is_readable, events = pcall(read_events, have[3] or '')
  local spans, logs = 0, 0
  for _, e in ipairs(is_readable and events or {}) do
    spans, logs = spans + e.spans, logs + e.logs
  end
  local pending_spans, pending_logs = all_spans - settled_spans, all_logs - settled_logs
  count_items(sums, 'pending', -pending_spans, -pending_logs)
  count_items(sums, 'stored', -stored_spans - spans, -stored_logs - logs)
  if expires > now then
    count_items(sums, 'deleted', pending_spans + stored_spans + spans, pending_logs + stored_logs + logs)
  else
    count_items(sums, 'expired.pending', pending_spans, pending_logs)
    count_items(sums, 'expired.undelivered', spans, logs)
    count_items(sums, 'expired.stored', stored_spans, stored_logs)
  end
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
