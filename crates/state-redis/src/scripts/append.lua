-- Adds fragments to correlations of one bucket, creating those that are not there, and opens the next generation of
-- those that are closed.
-- KEYS: time, exp, due, out, then each correlation.
-- ARGV: spans_max, bytes_max, TTL, index lag, grace (the last three in microseconds); then for each correlation the
--       number of its fragments, and for each fragment its name, its numbers with its labels, and its packed bytes.
-- Returns one digit for each fragment: 0 added, 1 duplicate, 2 over spans_max, 3 over bytes_max, 4 what is stored of
--       its correlation cannot be read.
-- Atomic because whether a fragment is new, whether it fits, and the counts it changes must be one decision.
-- A correlation of which every fragment is refused keeps what it has; otherwise field m is written even when nothing is
-- new, so that a WAIT after this call vouches for what was there before.

local spans_max, bytes_max, ttl, lag, grace =
  tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local now = clock()
local outcomes, time, exp, due, guard = {}, {}, {}, {}, 0
local at = 6

-- Adds the labels that are not known yet. 16 KiB: what a summary remembers is bounded.
local function add_labels(known, new)
  for label in string.gmatch(new, '[^\30]*\30') do
    if #known < 16384 and not string.find('\30' .. known, '\30' .. label, 1, true) then
      known = known .. label
    end
  end
  return known
end

for k = 5, #KEYS do
  local key = KEYS[k]
  local count = tonumber(ARGV[at])
  local fields = {'m', 'l', 's'}
  for f = 1, count do
    fields[f + 3] = ARGV[at + f * 3 - 2]
  end
  -- A key that is broken must not stop the call: what it did before would lack its place in the indexes.
  local have = redis.pcall('HMGET', key, unpack(fields))
  local readable, c, s = not have.err, nil, nil
  if readable and have[1] then
    readable, c = pcall(read_meta, have[1])
  end
  if readable and c and have[3] then
    readable, s = pcall(read_state, have[3], c)
  end
  if c and readable and c.expires <= now then
    remove(key)
    c, s = nil, nil
  end
  local created = readable and not c
  if created then
    have = {}
    c = {first_seen = now, last_updated = now, expires = 0, ttl = ttl, indexed = 0, guard = 0, fragments = 0,
      spans = 0, logs = 0, errors = 0, bytes = 0, first_event = -1, last_event = -1}
  end
  local labels, write, known, arrived, added, full = have[2] or '', {'m', ''}, {}, false, false, false

  for f = 1, count do
    local place = at + f * 3 - 2
    local name = ARGV[place]
    local outcome = '1'
    if not readable then
      outcome = '4'
    elseif not (have[f + 3] or known[name]) then
      local facts = ARGV[place + 1]
      local spans, logs, errors, bytes, first, last = struct.unpack('<i8i8i8i8i8i8', facts)
      if (spans > 0 and c.spans + spans > spans_max) or (logs > 0 and c.logs + logs > spans_max) then
        outcome = '2'
      elseif c.bytes + bytes > bytes_max then
        outcome = '3'
      else
        outcome, added = '0', true
        known[name] = true
        write[#write + 1] = name
        write[#write + 1] = struct.pack('<I4', c.fragments) .. ARGV[place + 2]
        c.fragments = c.fragments + 1
        c.spans, c.logs, c.errors, c.bytes = c.spans + spans, c.logs + logs, c.errors + errors, c.bytes + bytes
        if first ~= -1 and (c.first_event == -1 or first < c.first_event) then
          c.first_event = first
        end
        if last > c.last_event then
          c.last_event = last
        end
        local new = string.sub(facts, 49)
        if new ~= labels then
          labels = labels == '' and #new < 16384 and new or add_labels(labels, new)
        end
      end
    end
    arrived = arrived or outcome < '2'
    full = full or (outcome == '2' or outcome == '3') and (added or not (created or s and s.closed == 1))
    outcomes[#outcomes + 1] = outcome
  end
  at = at + 1 + count * 3

  -- A closed correlation opens its next generation; one that is not to be looked at for long is looked at once it is
  -- quiet again; one that can take no more has nothing to wait for.
  local look
  if created and arrived then
    look = now + grace
  elseif added and s and s.closed == 1 then
    s.closed, s.opened, s.lease = 0, now, 0
    look = now + grace
  elseif added and s and s.lease == 0 and s.look > now + grace then
    look = now + grace
  end
  if full and not (s and s.full == 1) then
    s = s or read_state(nil, c)
    s.full = 1
    look = s.lease == 0 and now or s.look
  end
  if look then
    due[#due + 1] = look
    due[#due + 1] = member_of(key)
    if s then
      s.look = look
      redis.call('HSET', key, 's', write_state(s))
    end
  end

  if arrived then
    c.last_updated = math.max(c.last_updated, now)
    c.expires = math.max(c.expires, now + c.ttl)
    if created or c.last_updated - c.indexed >= lag then
      c.indexed = c.last_updated
      time[#time + 1] = c.indexed
      time[#time + 1] = member_of(key)
    end
    if created then
      exp[#exp + 1] = c.expires
      exp[#exp + 1] = member_of(key)
    end
    local renew = c.expires > c.guard
    if renew then
      c.guard = c.expires + c.ttl
      guard = math.max(guard, c.guard)
    end
    if labels ~= (have[2] or '') then
      write[#write + 1] = 'l'
      write[#write + 1] = labels
    end
    write[2] = write_meta(c)
    redis.call('HSET', key, unpack(write))
    if renew then
      redis.call('PEXPIREAT', key, math.ceil(c.guard / 1000))
    end
  end
end

if #time > 0 then
  redis.call('ZADD', KEYS[1], unpack(time))
end
if #exp > 0 then
  redis.call('ZADD', KEYS[2], unpack(exp))
end
if #due > 0 then
  redis.call('ZADD', KEYS[3], unpack(due))
end
if guard > 0 then
  hold_index(KEYS[1], guard)
  hold_index(KEYS[2], guard)
end
if guard > 0 or #due > 0 then
  hold_index(KEYS[3], math.max(guard, now + 2 * ttl))
end
return table.concat(outcomes)
