-- Reads the ledger of a bucket.
-- KEYS: ledger, exp.
-- Returns names and values of its fields.
-- Writes when the bucket is empty and was not seen to become so.

enter_unseen(KEYS[1], KEYS[2], clock())
return redis.call('HGETALL', KEYS[1])
