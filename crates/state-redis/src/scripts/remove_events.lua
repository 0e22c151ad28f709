-- Removes events from the outbox.
-- KEYS: out, then the correlation of each event. ARGV: for each event its generation and the first_seen of its
--       correlation in microseconds.
-- Returns how many were there.
-- Atomic because another event of the correlation may be added or removed at the same time.

local now = clock()
local removed, olds, emptied = 0, {}, {}
for k = 2, #KEYS do
  local key = KEYS[k]
  local generation, first_seen = tonumber(ARGV[k * 2 - 3]), tonumber(ARGV[k * 2 - 2])
  local c, _, events = living(key, now, 'e')
  events = c and c.first_seen == first_seen and events or ''
  local kept, at, oldest = {}, 1, nil
  while at < #events do
    local number, _, _, closed, length, note = struct.unpack('<I4I4I4i8I4', events, at)
    if number == generation then
      removed = removed + 1
    else
      kept[#kept + 1] = string.sub(events, at, note + length - 1)
      oldest = oldest or closed
    end
    at = note + length
  end
  if oldest then
    redis.call('HSET', key, 'e', table.concat(kept))
    place(olds, oldest, member_of(key))
  elseif events ~= '' then
    redis.call('HDEL', key, 'e')
    emptied[#emptied + 1] = member_of(key)
  end
end
put_places(KEYS[1], olds)
remove_places(KEYS[1], emptied)
return removed
