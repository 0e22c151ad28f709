-- Counts a bucket, and finds what in one of its indexes has come.
-- KEYS: time, the index. ARGV: most members to return; which is the last time that has come: now, or +inf.
-- Returns the number of correlations in the bucket, then the members whose time has come.
-- One call because both must be of one moment, by the clock of the store.

local last = ARGV[2] == 'now' and whole(clock()) or ARGV[2]
local members = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', last, 'LIMIT', 0, ARGV[1])
table.insert(members, 1, redis.call('ZCARD', KEYS[1]))
return members
