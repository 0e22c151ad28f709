-- Closes claimed correlations, and puts their events into the outbox.
-- KEYS: due, out, ledger, then each correlation. ARGV: grace in microseconds; then for each correlation its numbers and
--       what the event says. The numbers are packed, because every argument costs: the fence of the claim, the number of
--       fragments it saw, 1 if an event is to be told or else 0, for how many microseconds it is left to whoever closes,
--       or -1 if nobody is to get it, and how many spans and log records in it are new.
-- Returns one digit for each: 0 closed, 1 something new has arrived, 2 somebody else's or gone.
-- Atomic because the event must be there if and only if the correlation is closed, and nothing may arrive between.

local grace = tonumber(ARGV[1])
local now = clock()
local answers, looks, closed, told, held = {}, {}, {}, {}, 0
-- Spans and log records that were pending, and those of them that are new.
local all_spans, all_logs, new_spans, new_logs = 0, 0, 0, 0
for k = 4, #KEYS do
  local key = KEYS[k]
  local numbers, note = ARGV[k * 2 - 6], ARGV[k * 2 - 5]
  local fence, version, told_one, hold, its_spans, its_logs = struct.unpack('<i8I4Bi8I4I4', numbers)
  local m, s, events = living(key, now, 'e')
  local answer = '2'
  if m then
    local first_seen, last_updated = struct.unpack('<i8i8', m)
    local guard, fragments, spans, logs = struct.unpack('<i8I4I4I4', m, 41)
    local opened, look, lease, claimed, finished, generation, earlier, settled_spans, settled_logs, stored_spans,
      stored_logs, is_closed, full = read_state(s, first_seen)
    if finished == fence then
      -- Repeated. Written again, so that a WAIT behind this call vouches for the first time.
      redis.call('HSET', key, 's', s)
      answer = '0'
    elseif is_closed == 0 and claimed == fence and fragments ~= version then
      look = quiet_at(last_updated, now, grace)
      redis.call('HSET', key, 's', struct.pack(STATE, opened, look, 0, fence + 1, finished, generation, earlier,
        settled_spans, settled_logs, stored_spans, stored_logs, 0, full))
      place(looks, look, member_of(key))
      answer = '1'
    elseif is_closed == 0 and claimed == fence then
      local member = member_of(key)
      local is_told = told_one == 1
      local pending_spans, pending_logs = spans - settled_spans, logs - settled_logs
      local more_spans, more_logs = math.min(its_spans, pending_spans), math.min(its_logs, pending_logs)
      all_spans, all_logs, new_spans, new_logs =
        all_spans + pending_spans, all_logs + pending_logs, new_spans + more_spans, new_logs + more_logs
      if is_told then
        generation = generation + 1
      end
      if is_told and hold >= 0 then
        local event = write_event(generation, earlier, version, now, more_spans, more_logs, '', note)
        redis.call('HSET', key, 's', struct.pack(STATE, opened, 0, 0, fence, fence, generation, version, spans, logs,
          stored_spans, stored_logs, 1, 0), 'e', events and events .. event or event)
        place(told, now + hold, member)
        held = math.max(held, guard)
      else
        redis.call('HSET', key, 's', struct.pack(STATE, opened, 0, 0, fence, fence, generation, version, spans, logs,
          stored_spans + more_spans, stored_logs + more_logs, 1, 0))
      end
      closed[#closed + 1] = member
      answer = '0'
    end
  end
  answers[#answers + 1] = answer
end
put_places(KEYS[1], looks)
remove_places(KEYS[1], closed)
if #told > 0 then
  -- Events of earlier generations do not wait longer for this one.
  redis.call('ZADD', KEYS[2], 'LT', unpack(told))
  hold_index(KEYS[2], held)
end
local sums = {}
count_items(sums, 'pending', -all_spans, -all_logs)
count_items(sums, 'stored', new_spans, new_logs)
-- The rest had been sent already, within other batches.
count_items(sums, 'kept', new_spans - all_spans, new_logs - all_logs)
count_items(sums, 'duplicate', all_spans - new_spans, all_logs - new_logs)
enter_sums(KEYS[3], sums, now)
return table.concat(answers)
