-- Closes claimed correlations, and puts their events into the outbox.
-- KEYS: due, out, ledger, then each correlation. ARGV: grace in microseconds; then for each correlation the fence of the
--       claim, the number of fragments it saw, 1 if an event is to be told or else 0, what the event says, for how many
--       microseconds it is left to whoever closes, or -1 if nobody is to get it, and how many spans and log records in
--       it are new.
-- Returns one digit for each: 0 closed, 1 something new has arrived, 2 somebody else's or gone.
-- Atomic because the event must be there if and only if the correlation is closed, and nothing may arrive between.

local grace = tonumber(ARGV[1])
local now = clock()
local answers, looks, closed, told, held = {}, {}, {}, {}, 0
-- Spans and log records that were pending, and those of them that are new.
local all_spans, all_logs, new_spans, new_logs = 0, 0, 0, 0
for k = 4, #KEYS do
  local key = KEYS[k]
  local at = k * 7 - 26
  local fence, version, note = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), ARGV[at + 3]
  local c, s, events = living(key, now, 'e')
  local answer = '2'
  if c and s.finished == fence then
    -- Repeated. Written again, so that a WAIT behind this call vouches for the first time.
    redis.call('HSET', key, 's', write_state(s))
    answer = '0'
  elseif c and s.closed == 0 and s.fence == fence then
    local member = member_of(key)
    if c.fragments ~= version then
      local look = quiet_at(c, now, grace)
      end_claim(key, s, look)
      place(looks, look, member)
      answer = '1'
    else
      local is_told, hold = ARGV[at + 2] == '1', tonumber(ARGV[at + 4])
      local is_kept = is_told and hold >= 0
      local pending_spans, pending_logs = c.spans - s.settled_spans, c.logs - s.settled_logs
      local spans, logs = math.min(tonumber(ARGV[at + 5]), pending_spans), math.min(tonumber(ARGV[at + 6]), pending_logs)
      all_spans, all_logs, new_spans, new_logs =
        all_spans + pending_spans, all_logs + pending_logs, new_spans + spans, new_logs + logs
      s.settled_spans, s.settled_logs = c.spans, c.logs
      s.stored_spans, s.stored_logs = s.stored_spans + spans, s.stored_logs + logs
      if is_told then
        s.generation = s.generation + 1
      end
      if is_kept then
        events = (events or '') .. write_event({generation = s.generation, earlier = s.earlier, version = version,
          closed = now, spans = spans, logs = logs, delivered = '', note = note})
        place(told, now + hold, member)
        held = math.max(held, c.guard)
      end
      s.closed, s.full, s.finished, s.earlier, s.lease, s.look = 1, 0, fence, version, 0, 0
      redis.call('HSET', key, 's', write_state(s), unpack(is_kept and {'e', events} or {}))
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
