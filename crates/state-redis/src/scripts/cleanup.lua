-- Removes those of the given correlations whose last arrival is before a cut-off; puts the others where they belong.
-- KEYS: time, exp, due, out, gone, then each correlation. ARGV: the cut-off in microseconds.
-- Returns how many living ones it removed.
-- Atomic because an arrival between the look and the removal must not be lost.

local now, cutoff = clock(), tonumber(ARGV[1])
local removed, keys, members = 0, {}, {}
for k = 6, #KEYS do
  local key = KEYS[k]
  local meta, last_updated, expires = meta_of(key), 0, 0
  if meta then
    last_updated, expires = times_of(meta)
  end
  if expires > now and last_updated >= cutoff then
    local c = read_meta(meta)
    c.indexed = last_updated
    redis.call('HSET', key, 'm', write_meta(c))
    redis.call('ZADD', KEYS[1], whole(last_updated), member_of(key))
  else
    keys[#keys + 1] = key
    members[#members + 1] = member_of(key)
    if expires > now then
      removed = removed + 1
    end
  end
end
if #keys > 0 then
  redis.call('UNLINK', unpack(keys))
  for index = 1, 4 do
    redis.call('ZREM', KEYS[index], unpack(members))
  end
end
mark_removal(KEYS[5])
return removed
