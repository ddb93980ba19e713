-- Reads the claims of a lease whose task has its outcome or no record. ARGV: 2 lease, 3 cursor, 4 about how many
-- Reply: next cursor, then {claim, task, 'ended' or 'unrecorded'}…
local found = call('HSCAN', k_claims(ARGV[2]), ARGV[3], 'COUNT', ARGV[4])
local reply = { found[1] }
for i = 1, #found[2], 2 do
  local id = string.match(found[2][i + 1], '^([^\n]*)\n') or ''
  local status = call('HGET', k_task(id), 'status')
  if not status or STAT[status] then reply[#reply + 1] = { found[2][i], id, status and 'ended' or 'unrecorded' } end
end
return reply
