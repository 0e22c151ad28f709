-- Removes events from the outbox.
-- KEYS: out, ledger, then the correlation of each event. ARGV: for each event its generation and the first_seen of its
--       correlation in microseconds.
-- Returns how many were there.
-- Atomic because another event of the correlation may be added or removed at the same time.

local now = clock()
local removed, emptied, sums = 0, {}, {}
for k = 3, #KEYS do
  local key = KEYS[k]
  local generation, first_seen = tonumber(ARGV[k * 2 - 5]), tonumber(ARGV[k * 2 - 4])
  local c, s, text = living(key, now, 'e')
  text = c and c.first_seen == first_seen and text or ''
  local kept = {}
  for _, e in ipairs(read_events(text)) do
    if e.generation == generation then
      removed = removed + 1
      s.stored_spans, s.stored_logs = s.stored_spans - e.spans, s.stored_logs - e.logs
      count_items(sums, 'stored', -e.spans, -e.logs)
      count_items(sums, 'delivered', e.spans, e.logs)
    else
      kept[#kept + 1] = write_event(e)
    end
  end
  if #kept > 0 then
    redis.call('HSET', key, 's', write_state(s), 'e', table.concat(kept))
  elseif text ~= '' then
    redis.call('HSET', key, 's', write_state(s), 'e', '')
    emptied[#emptied + 1] = member_of(key)
  end
end
remove_places(KEYS[1], emptied)
enter_sums(KEYS[2], sums, now)
return removed
