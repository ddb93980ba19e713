-- Looks at task records. ARGV: task ids from 2
-- Reply for each that needs a second look: task, what it is ('waiting', 'unheld': it runs under a claim nobody holds, 'endless': it has
-- its outcome and no lifetime), pool, and what tells whether it has changed since
local reply = {}
for i = 2, #ARGV do
  local id = ARGV[i]
  local key = k_task(id)
  local h = call('HMGET', key, 'status', 'pool', 'claim', 'attempts', 'finished_by', 'retry_at', 'mended')
  local kind
  if h[1] == 'queued' or h[1] == 'retrying' then
    kind = 'waiting'
  elseif h[1] == 'running' then
    local lease, number = string.match(h[3] or '', '^(.*):(%d+)$')
    local value = lease and call('HEXISTS', k_leases(), lease) == 1 and call('HGET', k_claims(lease), number)
    if not value or string.sub(value, 1, #id + 1) ~= id .. '\n' then kind = 'unheld' end
  elseif h[1] ~= 'awaiting_approval' and h[1] ~= 'waiting' and call('TTL', key) == -1 then
    kind = 'endless'
  end
  if kind then
    for n = 1, 7 do h[n] = h[n] or '' end
    reply[#reply + 1] = { id, kind, h[2], table.concat(h, '\n') }
  end
end
return reply
