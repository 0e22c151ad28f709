-- Takes the events of those of the given correlations whose time has come; they are nobody else's for a while.
-- KEYS: out, then each correlation. ARGV: lease in microseconds, bytes of payload after which no more are taken.
-- Returns the time, then for each correlation taken all its fields and values, and the place of its key.
-- Atomic because of several takers one must have them.

local lease, left = tonumber(ARGV[1]), tonumber(ARGV[2])
local now = clock()
local taken, looks, gone = {now}, {}, {}
for k = 2, #KEYS do
  if left <= 0 then
    break
  end
  local key = KEYS[k]
  local member = member_of(key)
  local due = redis.call('ZSCORE', KEYS[1], member)
  if due and tonumber(due) <= now then
    local c, _, events = living(key, now, 'e')
    if events and events ~= '' then
      place(looks, now + lease, member)
      local fields = redis.call('HGETALL', key)
      fields[#fields + 1] = k
      taken[#taken + 1] = fields
      left = left - c.bytes
    else
      gone[#gone + 1] = member
    end
  end
end
put_places(KEYS[1], looks)
remove_places(KEYS[1], gone)
return taken
