-- What a list shows of tasks. ARGV: ids from 2
-- Reply per known task: id, status, pool, worker, type, created, started, finished, attempts, batch, beginning of its specification, '1'
-- when that is all of it, name, how many tasks it waits for ('' where there is none)
local HEAD, reply = 300, {}
for i = 2, #ARGV do
  local h = call('HMGET', k_task(ARGV[i]), 'status', 'pool', 'worker', 'type', 'created', 'started', 'finished', 'attempts', 'batch', 'spec', 'name',
    'waits', 'submitted')
  if h[1] then
    local entry = { ARGV[i] }
    h[5] = h[13] or h[5] -- of one that waited for others, or for its approval
    for n = 1, 9 do entry[n + 1] = h[n] or '' end
    local spec = h[10] or ''
    entry[11], entry[12] = string.sub(spec, 1, HEAD), #spec <= HEAD and '1' or '0'
    entry[13], entry[14] = h[11] or '', h[1] == 'waiting' and h[12] or ''
    reply[#reply + 1] = entry
  end
end
return reply
