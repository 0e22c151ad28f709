-- Ends claims, and has the correlations looked at later.
-- KEYS: due, then each correlation. ARGV: grace in microseconds; then for each correlation the fence of the claim, the
--       number of fragments it saw, and how long to leave it alone in microseconds.
-- Atomic because somebody else may have claimed it meanwhile.

local grace = tonumber(ARGV[1])
local now = clock()
local looks = {}
for k = 2, #KEYS do
  local key = KEYS[k]
  local at = k * 3 - 4
  local fence, version, look = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), now + tonumber(ARGV[at + 2])
  local c, s = living(key, now)
  if c and s.closed == 0 and s.fence == fence then
    if c.fragments ~= version then
      look = math.min(look, quiet_at(c, now, grace))
    end
    end_claim(key, s, look)
    place(looks, look, member_of(key))
  end
end
put_places(KEYS[1], looks)
return 0
