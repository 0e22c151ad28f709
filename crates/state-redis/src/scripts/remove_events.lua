-- Removes events from the outbox.
-- KEYS: out, then the correlation of each event. ARGV: for each event its generation and the first_seen of its
--       correlation in microseconds.
-- Returns how many were there.
-- Atomic because another event of the correlation may be added or removed at the same time.

local now = clock()
local removed = 0
for k = 2, #KEYS do
  local key = KEYS[k]
  local generation, first_seen = tonumber(ARGV[k * 2 - 3]), tonumber(ARGV[k * 2 - 2])
  local c = living(key, now)
  local events = c and c.first_seen == first_seen and redis.call('HGET', key, 'e') or ''
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
    redis.call('ZADD', KEYS[1], whole(oldest), member_of(key))
  elseif events ~= '' then
    redis.call('HDEL', key, 'e')
    redis.call('ZREM', KEYS[1], member_of(key))
  end
end
return removed
