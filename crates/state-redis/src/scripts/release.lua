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
  local m, s = living(key, now)
  if s then
    local opened, _, _, claimed, finished, generation, earlier, settled_spans, settled_logs, stored_spans, stored_logs,
      closed, full = read_state(s)
    if closed == 0 and claimed == fence then
      if struct.unpack('<I4', m, 49) ~= version then
        look = math.min(look, quiet_at(struct.unpack('<i8', m, 9), now, grace))
      end
      redis.call('HSET', key, 's', struct.pack(STATE, opened, look, 0, fence + 1, finished, generation, earlier,
        settled_spans, settled_logs, stored_spans, stored_logs, 0, full))
      place(looks, look, member_of(key))
    end
  end
end
put_places(KEYS[1], looks)
return 0
