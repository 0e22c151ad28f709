-- Removes a correlation.
-- KEYS: time, due, gone, the correlation. ARGV: the time after which this must not be done any more.
-- Returns 1 if it was alive, else 0.
-- Atomic because the correlation and its places in the indexes must go together.

local late = too_late(ARGV[1])
if late then
  return late
end
local key = KEYS[4]
local c = meta_of(key)
redis.call('UNLINK', key)
redis.call('ZREM', KEYS[1], member(key))
redis.call('ZREM', KEYS[2], member(key))
mark_removal(KEYS[3])
return c and c.expires > clock() and 1 or 0
