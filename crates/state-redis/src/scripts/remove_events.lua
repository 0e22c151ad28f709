-- Removes events from the outbox.
-- KEYS: out, then the correlation of each event. ARGV: for each event its generation and the first_seen of its
--       correlation in microseconds.
-- Returns how many were there.
-- Atomic because another event of the correlation may be added or removed at the same time.

local now = clock()
local removed, emptied = 0, {}
for k = 2, #KEYS do
  local key = KEYS[k]
  local generation, first_seen = tonumber(ARGV[k * 2 - 3]), tonumber(ARGV[k * 2 - 2])
  local c, _, text = living(key, now, 'e')
  text = c and c.first_seen == first_seen and text or ''
  local kept = {}
  for _, e in ipairs(read_events(text)) do
    if e.generation == generation then
      removed = removed + 1
    else
      kept[#kept + 1] = write_event(e)
    end
  end
  if #kept > 0 then
    redis.call('HSET', key, 'e', table.concat(kept))
  elseif text ~= '' then
    redis.call('HDEL', key, 'e')
    emptied[#emptied + 1] = member_of(key)
  end
end
remove_places(KEYS[1], emptied)
return removed
