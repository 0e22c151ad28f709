-- Frees those of the given correlations that have expired, or cannot be read; puts the others back to when they will.
-- KEYS: time, exp, due, out, ledger, then each correlation.
-- Returns how many it freed.
-- Atomic because an arrival between the look and the removal must not be lost.

local now = clock()
local expired = {}
for k = 6, #KEYS do
  local key = KEYS[k]
  local _, expires = times_of(key)
  if expires > now then
    redis.call('ZADD', KEYS[2], whole(expires), member_of(key))
  else
    expired[#expired + 1] = key
  end
end
return remove(expired, now)
