-- Claims those of the given correlations that are due; puts the others back to when they may be.
-- KEYS: due, then each correlation. ARGV: lease, grace, age_max (microseconds), bytes of payload after which no more are
--       claimed.
-- Returns the time, then for each claimed one the place of its key and all its fields and values.
-- Atomic because of several claimers one must win, and because the content must be that of the version it may finish.

local lease, grace, age_max, left = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local now = clock()
local claimed, looks, settled = {now}, {}, {}
for k = 2, #KEYS do
  if left <= 0 then
    break
  end
  local key = KEYS[k]
  local member = member_of(key)
  local c, s = living(key, now)
  if not c or s.closed == 1 then
    settled[#settled + 1] = member
  elseif s.lease > now then
    -- A lease that ends later was given by a clock that has gone back.
    if s.lease > now + lease then
      s.lease, s.look = now + lease, now + lease
      redis.call('HSET', key, 's', write_state(s))
    end
    place(looks, s.lease, member)
  else
    local look = math.min(c.last_updated + grace, s.opened + age_max)
    if look > now and s.full == 0 then
      place(looks, look, member)
    else
      -- Larger than every fence before, also if some were lost in a failover.
      s.fence = math.max(s.fence + 1, now)
      s.lease, s.look = now + lease, now + lease
      redis.call('HSET', key, 's', write_state(s))
      place(looks, s.lease, member)
      local fields = redis.call('HGETALL', key)
      fields[#fields + 1] = k
      claimed[#claimed + 1] = fields
      left = left - c.bytes
    end
  end
end
put_places(KEYS[1], looks)
remove_places(KEYS[1], settled)
return claimed
