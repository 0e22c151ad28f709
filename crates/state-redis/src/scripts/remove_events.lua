-- Removes events from the outbox.
-- KEYS: out, ledger, then the correlation of each event. ARGV: for each event, packed, its generation and the first_seen
--       of its correlation in microseconds.
-- Returns how many were there.
-- Atomic because another event of the correlation may be added or removed at the same time.

local now = clock()
local removed, emptied, sums, all_spans, all_logs = 0, {}, {}, 0, 0
for k = 3, #KEYS do
  local key = KEYS[k]
  local generation, first_seen = struct.unpack('<I4i8', ARGV[k - 2])
  local m, _, text = living(key, now, 'e')
  if text and text ~= '' and struct.unpack('<i8', m) == first_seen then
    local kept, at = {}, 1
    while at < #text do
      local from = at
      local number, _, _, _, spans, logs, delivered, note, record_end = struct.unpack(RECORD, text, at)
      at = record_end + delivered + note
      if number == generation then
        removed, all_spans, all_logs = removed + 1, all_spans + spans, all_logs + logs
      else
        kept[#kept + 1] = string.sub(text, from, at - 1)
      end
    end
    if #kept == 0 then
      emptied[#emptied + 1] = member_of(key)
    end
    redis.call('HSET', key, 'e', table.concat(kept))
  end
end
count_items(sums, 'stored', -all_spans, -all_logs)
count_items(sums, 'delivered', all_spans, all_logs)
remove_places(KEYS[1], emptied)
enter_sums(KEYS[2], sums, now)
return removed
