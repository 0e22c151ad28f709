-- Frees those of the given correlations that have expired, or cannot be read; puts the others back to when they will.
-- KEYS: time, due, then each correlation.
-- Returns how many it freed.
-- Atomic because an arrival between the look and the removal must not be lost.

local now = clock()
local freed = 0
for k = 3, #KEYS do
  local key = KEYS[k]
  local c = meta_of(key)
  if c and c.expires > now then
    redis.call('ZADD', KEYS[2], c.expires, member(key))
  else
    redis.call('UNLINK', key)
    redis.call('ZREM', KEYS[2], member(key))
    freed = freed + redis.call('ZREM', KEYS[1], member(key))
  end
end
return freed
