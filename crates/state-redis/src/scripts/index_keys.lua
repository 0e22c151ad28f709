-- Notes which correlations carry keys.
-- KEYS: the index of each key. ARGV: how long an entry lives (microseconds), most entries of an index; then for each
--       index the number of its correlations, and them.
-- One call because an index must not outlive its last entry, nor its last entry the index.

local lifetime, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local ends = clock() + lifetime
local at = 3
for k = 1, #KEYS do
  local key, places = KEYS[k], {}
  for m = 1, tonumber(ARGV[at]) do
    place(places, ends, ARGV[at + m])
  end
  at = at + tonumber(ARGV[at]) + 1
  redis.call('ZADD', key, unpack(places))
  redis.call('ZREMRANGEBYSCORE', key, '-inf', whole(ends - lifetime))
  redis.call('ZREMRANGEBYRANK', key, 0, -most - 1)
  hold_index(key, ends)
end
return 0
