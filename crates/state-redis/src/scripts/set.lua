-- Replaces a correlation, or creates it. It is active in its first generation, whatever was there.
-- KEYS: time, exp, due, out, ledger, the correlation.
-- ARGV: first_seen, last_updated, TTL (microseconds), spans, logs, errors, bytes, first_event, last_event, labels,
--       overrides, the time after which this must not be done any more, grace, number of fragments; then names and
--       values of the fields that hold them.
-- Atomic because a reader must see all of the old correlation or all of the new one.

local late = too_late(ARGV[12])
if late then
  return late
end
local key = KEYS[6]
local now = clock()
local n = {}
for i = 1, 9 do
  n[i] = tonumber(ARGV[i])
end
local guard, look, spans, logs = now + 2 * n[3], now + tonumber(ARGV[13]), n[4], n[5]
local m = struct.pack(META, n[1], n[2], now + n[3], n[3], n[2], guard, tonumber(ARGV[14]), spans, logs, n[6], n[7], n[8],
  n[9])
local s = struct.pack(STATE, now, look, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)

local sums = {}
count_removed(sums, key, now)
count_items(sums, 'added', spans, logs)
redis.call('UNLINK', key)
-- Lua cannot unpack more than some 8,000 values.
local function fields(first)
  return unpack(ARGV, first, math.min(first + 999, #ARGV))
end
redis.call('HSET', key, 'm', m, 'l', ARGV[10], 'u', ARGV[11], 's', s, fields(15))
for first = 1015, #ARGV, 1000 do
  redis.call('HSET', key, fields(first))
end
guard_key(key, guard)
local member = member_of(key)
enter_unseen(KEYS[5], KEYS[2], now)
redis.call('ZADD', KEYS[1], whole(n[2]), member)
redis.call('ZADD', KEYS[2], whole(now + n[3]), member)
redis.call('ZADD', KEYS[3], whole(look), member)
redis.call('ZREM', KEYS[4], member)
for index = 1, 3 do
  hold_index(KEYS[index], guard)
end
enter_sums(KEYS[5], sums, now, guard)
