-- Takes the events of those of the given correlations whose time has come; they are nobody else's for a while.
-- KEYS: out, then each correlation. ARGV: lease in microseconds, bytes of payload after which no more are taken.
-- Returns the time, then the place of the key of each correlation taken.
-- Atomic because of several takers one must have them. What is in a correlation is read after it, as after a claim.

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
    local m, _, events = living(key, now, 'e')
    if events and events ~= '' then
      place(looks, now + lease, member)
      taken[#taken + 1] = k
      left = left - struct.unpack('<i8', m, 65)
    else
      gone[#gone + 1] = member
    end
  end
end
put_places(KEYS[1], looks)
remove_places(KEYS[1], gone)
return taken
