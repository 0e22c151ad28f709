-- Claims those of the given correlations that are due; puts the others back to when they may be.
-- KEYS: due, then each correlation. ARGV: lease, grace, age_max (microseconds), bytes of payload after which no more are
--       claimed.
-- Returns the time, then for each claimed one the place of its key and the fence of the claim.
-- Atomic because of several claimers one must win. What is in a correlation is read after it: the fields of one HASH are
-- of one moment, and Lua would copy every byte of them three times.

local lease, grace, age_max, left = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local now = clock()
local claimed, looks, settled = {now}, {}, {}
for k = 2, #KEYS do
  if left <= 0 then
    break
  end
  local key = KEYS[k]
  local member = member_of(key)
  local m, s = living(key, now)
  if not m then
    settled[#settled + 1] = member
  else
    local first_seen, last_updated = struct.unpack('<i8i8', m)
    local opened, look, leased, fence, finished, generation, earlier, settled_spans, settled_logs, stored_spans,
      stored_logs, closed, full = read_state(s, first_seen)
    if closed == 1 then
      settled[#settled + 1] = member
    elseif leased > now then
      -- A lease that ends later was given by a clock that has gone back.
      if leased > now + lease then
        leased = now + lease
        redis.call('HSET', key, 's', struct.pack(STATE, opened, leased, leased, fence, finished, generation, earlier,
          settled_spans, settled_logs, stored_spans, stored_logs, closed, full))
      end
      place(looks, leased, member)
    else
      look = math.min(last_updated + grace, opened + age_max)
      if look > now and full == 0 then
        place(looks, look, member)
      else
        -- Larger than every fence before, also if some were lost in a failover.
        fence, look = math.max(fence + 1, now), now + lease
        redis.call('HSET', key, 's', struct.pack(STATE, opened, look, look, fence, finished, generation, earlier,
          settled_spans, settled_logs, stored_spans, stored_logs, closed, full))
        place(looks, look, member)
        claimed[#claimed + 1] = k
        claimed[#claimed + 1] = fence
        left = left - struct.unpack('<i8', m, 65)
      end
    end
  end
end
put_places(KEYS[1], looks)
remove_places(KEYS[1], settled)
return claimed
