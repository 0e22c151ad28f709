-- Adds fragments to correlations of one bucket, creating those that are not there, and opens the next generation of
-- those that are closed.
-- KEYS: time, exp, due, out, ledger, then each correlation.
-- ARGV: spans_max, bytes_max, TTL, index lag, grace (the last three in microseconds); then for each correlation the
--       number of its fragments, and for each fragment its name, its numbers with its labels, and its packed bytes.
-- Returns one digit for each fragment: 0 added, 1 duplicate, 2 over spans_max, 3 over bytes_max, 4 what is stored of
--       its correlation cannot be read.
-- Atomic because whether a fragment is new, whether it fits, and the counts it changes must be one decision.
-- A correlation of which every fragment is refused keeps what it has; otherwise field m is written even when nothing is
-- new, so that a WAIT after this call vouches for what was there before.
--
-- This is the call that costs: Redis hashes every byte of every string that Lua makes, at more than a nanosecond each,
-- so packed bytes are passed on as they are, and tables are used again.

local spans_max, bytes_max, ttl, lag, grace =
  tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local now = clock()
local outcomes, time, exp, due, held = {}, {}, {}, {}, 0
local read, write, sums = {'m', 'l', 's', 'o0'}, {'m'}, {}
-- Spans and log records that were added, and that were there.
local added_spans, added_logs, known_spans, known_logs = 0, 0, 0, 0
local at = 6

-- Adds the labels that are not known yet. 16 KiB: what a summary remembers is bounded.
local function add_labels(known, new)
  for label in string.gmatch(new, '\30[^\30]*\30') do
    if #known < 16384 and not string.find(known, label, 1, true) then
      known = known .. label
    end
  end
  return known
end

for k = 6, #KEYS do
  local key = KEYS[k]
  local count = tonumber(ARGV[at])
  for f = 1, count do
    read[f + 4] = ARGV[at + f * 3 - 2]
  end
  -- A key that is broken must not stop the call: what it did before would lack its place in the indexes.
  local have = redis.pcall('HMGET', key, unpack(read, 1, count + 4))
  local readable = not have.err and (not have[1] or #have[1] == META_BYTES) and (not have[3] or #have[3] == STATE_BYTES)
  local first_seen, last_updated, expires, own_ttl, indexed, guard, fragments, spans, logs, errors, bytes, first_event,
    last_event
  if readable and have[1] then
    first_seen, last_updated, expires, own_ttl, indexed, guard, fragments, spans, logs, errors, bytes, first_event,
      last_event = struct.unpack(META, have[1])
    if expires <= now then
      remove({key}, now)
      first_seen = nil
    end
  end
  local created = readable and not first_seen
  if created then
    have = {}
    first_seen, last_updated, expires, own_ttl, indexed, guard = now, now, 0, ttl, 0, 0
    fragments, spans, logs, errors, bytes, first_event, last_event = 0, 0, 0, 0, 0, -1, -1
  end
  local opened, look_at, lease, fence, finished, generation, earlier, settled_spans, settled_logs, stored_spans,
    stored_logs, closed, was_full = read_state(readable and have[3], first_seen)
  local labels, order, chunk = have[2] or '', have[4] or '', 0
  if readable and fragments >= CHUNK then
    chunk = math.floor(fragments / CHUNK)
    order = redis.call('HGET', key, 'o' .. chunk) or ''
  end
  local written, known, arrived, added, full = 2, count > 1 and {}, false, false, false

  for f = 1, count do
    local argument = at + f * 3 - 2
    local name = ARGV[argument]
    local facts = ARGV[argument + 1]
    local more_spans, more_logs, more_errors, more_bytes, first, last = struct.unpack('<I4I4I4I4i8i8', facts)
    local outcome = '1'
    if not readable then
      outcome = '4'
    elseif not (have[f + 4] or known and known[name]) then
      if more_spans > 0 and spans + more_spans > spans_max or more_logs > 0 and logs + more_logs > spans_max then
        outcome = '2'
      elseif bytes + more_bytes > bytes_max then
        outcome = '3'
      else
        outcome, added = '0', true
        if known then
          known[name] = true
        end
        write[written + 1], write[written + 2] = name, ARGV[argument + 2]
        written = written + 2
        order, fragments = order .. name, fragments + 1
        if fragments % CHUNK == 0 then
          write[written + 1], write[written + 2] = 'o' .. chunk, order
          written, order, chunk = written + 2, '', chunk + 1
        end
        spans, logs, errors, bytes = spans + more_spans, logs + more_logs, errors + more_errors, bytes + more_bytes
        if first ~= -1 and (first_event == -1 or first < first_event) then
          first_event = first
        end
        if last > last_event then
          last_event = last
        end
        local new = string.sub(facts, 33)
        if new ~= labels then
          labels = labels == '' and #new < 16384 and new or add_labels(labels, new)
        end
      end
    end
    if outcome == '0' then
      added_spans, added_logs = added_spans + more_spans, added_logs + more_logs
    elseif outcome == '1' then
      known_spans, known_logs = known_spans + more_spans, known_logs + more_logs
    elseif outcome ~= '4' then
      -- What cannot be read is refused by whoever called.
      count_items(sums, 'received', more_spans, more_logs)
      count_items(sums, outcome == '2' and 'refused.spans_max' or 'refused.bytes_max', more_spans, more_logs)
    end
    arrived = arrived or outcome < '2'
    full = full or (outcome == '2' or outcome == '3') and (added or not (created or closed == 1))
    outcomes[#outcomes + 1] = outcome
  end
  at = at + 1 + count * 3

  -- A closed correlation opens its next generation; one that is not to be looked at for long is looked at once it is
  -- quiet again; one that can take no more has nothing to wait for.
  local look, member
  if created and arrived then
    look = now + grace
  elseif added and closed == 1 then
    closed, opened, lease = 0, now, 0
    look = now + grace
  elseif added and have[3] and lease == 0 and look_at > now + grace then
    look = now + grace
  end
  full = full and was_full == 0
  if full then
    look = lease == 0 and now or look_at
  end
  if look then
    member = member_of(key)
    place(due, look, member)
    if have[3] or full then
      redis.call('HSET', key, 's', struct.pack(STATE, opened, look, lease, fence, finished, generation, earlier,
        settled_spans, settled_logs, stored_spans, stored_logs, closed, full and 1 or was_full))
    end
  end

  if arrived then
    last_updated = math.max(last_updated, now)
    expires = math.max(expires, now + own_ttl)
    if created or last_updated - indexed >= lag then
      indexed = last_updated
      member = member or member_of(key)
      place(time, indexed, member)
    end
    if created then
      place(exp, expires, member)
    end
    local renew = expires > guard
    if renew then
      guard = expires + own_ttl
      held = math.max(held, guard)
    end
    if labels ~= (have[2] or '') then
      write[written + 1], write[written + 2] = 'l', labels
      written = written + 2
    end
    if added and order ~= '' then
      write[written + 1], write[written + 2] = 'o' .. chunk, order
      written = written + 2
    end
    write[2] = struct.pack(META, first_seen, last_updated, expires, own_ttl, indexed, guard, fragments, spans, logs,
      errors, bytes, first_event, last_event)
    redis.call('HSET', key, unpack(write, 1, written))
    if renew then
      guard_key(key, guard)
    end
  end
end

if #due > 0 then
  held = math.max(held, now + 2 * ttl)
end
if held > 0 then
  local ends = redis.call('PEXPIRETIME', KEYS[1])
  if ends == -2 then
    enter_unseen(KEYS[5], KEYS[2], now)
  end
  put_places(KEYS[1], time)
  put_places(KEYS[2], exp)
  put_places(KEYS[3], due)
  -- The same members have a place by time and by expiry.
  if hold_index(KEYS[1], held, ends) then
    hold_index(KEYS[2], held, ends)
  end
  hold_index(KEYS[3], held)
else
  put_places(KEYS[1], time)
end
count_items(sums, 'added', added_spans, added_logs)
count_items(sums, 'received', known_spans, known_logs)
count_items(sums, 'duplicate', known_spans, known_logs)
enter_sums(KEYS[5], sums, now, held)
return table.concat(outcomes)
