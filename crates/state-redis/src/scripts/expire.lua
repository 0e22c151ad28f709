-- Frees those of the given correlations that have expired, or cannot be read; puts the others back to when they will.
-- KEYS: time, exp, due, out, then each correlation.
-- Returns how many it freed.
-- Atomic because an arrival between the look and the removal must not be lost.

local now = clock()
local freed = 0
for k = 5, #KEYS do
  local key = KEYS[k]
  local c = meta_of(key)
  if c and c.expires > now then
    redis.call('ZADD', KEYS[2], c.expires, member_of(key))
  else
    freed = freed + remove(key)
  end
end
return freed
