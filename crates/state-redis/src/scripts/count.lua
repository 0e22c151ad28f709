-- Counts a bucket, and finds what in it may have expired.
-- KEYS: time, exp. ARGV: most members to return.
-- Returns the number of correlations in the bucket, then the members whose time to look has come.
-- One call because both must be of one moment, by the clock of the store.

local members = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', whole(clock()), 'LIMIT', 0, ARGV[1])
table.insert(members, 1, redis.call('ZCARD', KEYS[1]))
return members
