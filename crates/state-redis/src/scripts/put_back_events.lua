-- Gives events back, and notes who has them.
-- KEYS: out, then the correlation of each event. ARGV: for each event its generation, the first_seen of its
--       correlation and how long to leave it alone in microseconds, and who has it, 8 bytes each.
-- Atomic because another event of the correlation may be added or removed at the same time.

local now = clock()
local looks = {}
for k = 2, #KEYS do
  local key = KEYS[k]
  local at = k * 4 - 7
  local generation, first_seen = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  local look, delivered = now + tonumber(ARGV[at + 2]), ARGV[at + 3]
  local m, _, text = living(key, now, 'e')
  if text and struct.unpack('<i8', m) == first_seen then
    local events, is_there = {}, false
    for _, e in ipairs(read_events(text)) do
      if e.generation == generation then
        is_there = true
        for new = 1, #delivered, 8 do
          local receiver, is_known = string.sub(delivered, new, new + 7), false
          for known = 1, #e.delivered, 8 do
            is_known = is_known or string.sub(e.delivered, known, known + 7) == receiver
          end
          e.delivered = is_known and e.delivered or e.delivered .. receiver
        end
        e.text = write_event(e.generation, e.earlier, e.version, e.closed, e.spans, e.logs, e.delivered, e.note)
      end
      events[#events + 1] = e.text
    end
    if is_there then
      redis.call('HSET', key, 'e', table.concat(events))
      place(looks, look, member_of(key))
    end
  end
end
put_places(KEYS[1], looks)
return 0
