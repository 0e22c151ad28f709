-- Removes a correlation.
-- KEYS: time, exp, due, out, ledger, gone, the correlation. ARGV: the time after which this must not be done any more.
-- Returns 1 if it was alive, else 0.
-- Atomic because the correlation and its places in the indexes must go together.

local late = too_late(ARGV[1])
if late then
  return late
end
local now = clock()
local _, expires = times_of(KEYS[7])
remove({KEYS[7]}, now)
mark_removal(KEYS[6])
return expires > now and 1 or 0
