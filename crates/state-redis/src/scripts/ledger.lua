-- Reads the ledger of a bucket.
-- KEYS: ledger, exp.
-- Returns names and values of its fields.
-- Writes when the bucket is empty and was not seen to become so: what was in it then has expired.

local now = clock()
if redis.call('EXISTS', KEYS[2]) == 0 then
  local sums = {}
  for _, account in ipairs({'pending', 'stored'}) do
    local spans, logs = unpack(redis.call('HMGET', KEYS[1], 'spans.' .. account, 'logs.' .. account))
    spans, logs = tonumber(spans or 0), tonumber(logs or 0)
    count_items(sums, account, -spans, -logs)
    count_items(sums, 'expired.unseen', spans, logs)
  end
  enter_sums(KEYS[1], sums, now)
end
return redis.call('HGETALL', KEYS[1])
