-- Removes a correlation.
-- KEYS: time, due, the correlation.
-- Returns 1 if it was alive, else 0.
-- Atomic because the correlation and its places in the indexes must go together.

local key = KEYS[3]
local meta = redis.call('HGET', key, 'm')
redis.call('UNLINK', key)
redis.call('ZREM', KEYS[1], member(key))
redis.call('ZREM', KEYS[2], member(key))
return meta and read_meta(meta).expires > clock() and 1 or 0
