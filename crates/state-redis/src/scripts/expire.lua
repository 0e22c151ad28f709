-- Frees those of the given correlations that have expired, or cannot be read; puts the others back to when they will.
-- KEYS: time, exp, due, out, then each correlation.
-- Returns how many it freed.
-- Atomic because an arrival between the look and the removal must not be lost.

local now = clock()
local freed, keys, members = 0, {}, {}
for k = 5, #KEYS do
  local key = KEYS[k]
  local meta, expires, _ = meta_of(key), 0, nil
  if meta then
    _, expires = times_of(meta)
  end
  if expires > now then
    redis.call('ZADD', KEYS[2], whole(expires), member_of(key))
  else
    keys[#keys + 1] = key
    members[#members + 1] = member_of(key)
  end
end
if #keys > 0 then
  redis.call('UNLINK', unpack(keys))
  freed = redis.call('ZREM', KEYS[1], unpack(members))
  for index = 2, 4 do
    redis.call('ZREM', KEYS[index], unpack(members))
  end
end
return freed
