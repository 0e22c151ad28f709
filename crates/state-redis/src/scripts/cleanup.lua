-- Removes those of the given correlations whose last arrival is before a cut-off; puts the others where they belong.
-- KEYS: time, exp, due, out, ledger, gone, then each correlation. ARGV: the cut-off in microseconds.
-- Returns how many living ones it removed.
-- Atomic because an arrival between the look and the removal must not be lost.

local now, cutoff = clock(), tonumber(ARGV[1])
local removed, old = 0, {}
for k = 7, #KEYS do
  local key = KEYS[k]
  local last_updated, expires, meta = times_of(key)
  if expires > now and last_updated >= cutoff then
    -- Bytes 33 to 40 say what the index has.
    local indexed = struct.pack('<i8', last_updated)
    redis.call('HSET', key, 'm', string.sub(meta, 1, 32) .. indexed .. string.sub(meta, 41))
    redis.call('ZADD', KEYS[1], whole(last_updated), member_of(key))
  else
    old[#old + 1] = key
    if expires > now then
      removed = removed + 1
    end
  end
end
remove(old, now)
mark_removal(KEYS[6])
return removed
