-- Enters into the ledger what was refused before it came here.
-- KEYS: ledger. ARGV: for each reason it, and how many spans and log records.
-- One call because both sides of the ledger must change together.

local sums = {}
for at = 1, #ARGV, 3 do
  local spans, logs = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  count_items(sums, 'received', spans, logs)
  count_items(sums, 'refused.' .. ARGV[at], spans, logs)
end
enter_sums(KEYS[1], sums, clock())
return 0
