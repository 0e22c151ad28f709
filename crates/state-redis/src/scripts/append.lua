-- Adds fragments to correlations of one bucket, creating those that are not there.
-- KEYS: time, due, then each correlation.
-- ARGV: spans_max, bytes_max, TTL, index lag (both in microseconds); then for each correlation the number of its
--       fragments, and for each fragment its name, facts, labels and packed bytes.
-- Returns one digit for each fragment: 0 added, 1 duplicate, 2 over spans_max, 3 over bytes_max, 4 what is stored of
--       its correlation cannot be read.
-- Atomic because whether a fragment is new, whether it fits, and the counts it changes must be one decision.
-- A correlation of which every fragment is refused is not written at all; otherwise field m is written even when
-- nothing is new, so that a WAIT after this call vouches for what was there before.

local spans_max, bytes_max, ttl, lag = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local now = clock()
local outcomes, time, due, guard = {}, {}, {}, 0
local at = 5

for k = 3, #KEYS do
  local key = KEYS[k]
  local count = tonumber(ARGV[at])
  local fields = {'m', 'l'}
  for f = 1, count do
    fields[f + 2] = ARGV[at + f * 4 - 3]
  end
  -- A key that is broken must not stop the call: what it did before would lack its place in the indexes.
  local have = redis.pcall('HMGET', key, unpack(fields))
  local readable, c = not have.err, nil
  if readable and have[1] then
    readable, c = pcall(read_meta, have[1])
  end
  if c and readable and c.expires <= now then
    redis.call('UNLINK', key)
    c = nil
  end
  local created = readable and not c
  if created then
    have = {}
    c = {first_seen = now, last_updated = now, expires = 0, ttl = ttl, indexed = 0, guard = 0, fragments = 0,
      spans = 0, logs = 0, errors = 0, bytes = 0, first_event = -1, last_event = -1}
  end
  local labels, write, known, arrived = have[2] or '', {}, {}, false

  for f = 1, count do
    local place = at + f * 4 - 3
    local name = ARGV[place]
    local outcome = '1'
    if not readable then
      outcome = '4'
    elseif not (have[f + 2] or known[name]) then
      local spans, logs, errors, bytes, first, last = struct.unpack('<i8i8i8i8i8i8', ARGV[place + 1])
      if (spans > 0 and c.spans + spans > spans_max) or (logs > 0 and c.logs + logs > spans_max) then
        outcome = '2'
      elseif c.bytes + bytes > bytes_max then
        outcome = '3'
      else
        outcome = '0'
        known[name] = true
        write[#write + 1] = name
        write[#write + 1] = struct.pack('<I4', c.fragments) .. ARGV[place + 3]
        c.fragments = c.fragments + 1
        c.spans, c.logs, c.errors, c.bytes = c.spans + spans, c.logs + logs, c.errors + errors, c.bytes + bytes
        if first ~= -1 and (c.first_event == -1 or first < c.first_event) then
          c.first_event = first
        end
        if last > c.last_event then
          c.last_event = last
        end
        for label in string.gmatch(ARGV[place + 2], '[^\30]*\30') do
          -- 16 KiB: what a summary remembers is bounded.
          if #labels < 16384 and not string.find('\30' .. labels, '\30' .. label, 1, true) then
            labels = labels .. label
          end
        end
      end
    end
    arrived = arrived or outcome < '2'
    outcomes[#outcomes + 1] = outcome
  end
  at = at + 1 + count * 4

  if arrived then
    c.last_updated = math.max(c.last_updated, now)
    c.expires = math.max(c.expires, now + c.ttl)
    if created or c.last_updated - c.indexed >= lag then
      c.indexed = c.last_updated
      time[#time + 1] = c.indexed
      time[#time + 1] = member(key)
    end
    if created then
      due[#due + 1] = c.expires
      due[#due + 1] = member(key)
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
    redis.call('HSET', key, 'm', write_meta(c), unpack(write))
    if renew then
      redis.call('PEXPIREAT', key, string.format('%.0f', math.ceil(c.guard / 1000)))
    end
  end
end

if #time > 0 then
  redis.call('ZADD', KEYS[1], unpack(time))
end
if #due > 0 then
  redis.call('ZADD', KEYS[2], unpack(due))
end
if guard > 0 then
  hold_index(KEYS[1], guard)
  hold_index(KEYS[2], guard)
end
return table.concat(outcomes)
