-- Reply per task: {record as field, value, …}, Celery's result or '', and of a task that waits for what it needs its pool's living nodes
-- ({about (JSON), in use (JSON)}…). ARGV: task ids from 2
local reply, known = {}, {}

local function nodes_of(pool)
  if known[pool] then return known[pool] end
  local nodes = {}
  for _, node in ipairs(call('HKEYS', k_groups(pool))) do
    local about = call('EXISTS', k_node(node)) == 1 and call('HGET', k_nodes(), node)
    if about then nodes[#nodes + 1] = { about, cjson.encode(needs_kit().stock_of(node).used) } end
  end
  known[pool] = nodes
  return nodes
end

for i = 2, #ARGV do
  local record = call('HGETALL', k_task(ARGV[i]))
  local meta, needy, status, pool = '', false, nil, nil
  for n = 1, #record, 2 do
    if record[n] == 'status' then status = record[n + 1] elseif record[n] == 'pool' then pool = record[n + 1]
    elseif record[n] == 'parked_at' then needy = true end
  end
  if status == 'completed' then meta = call('GET', k_meta(ARGV[i])) or '' end
  local waits = needy and pool and (status == 'queued' or status == 'retrying')
  reply[#reply + 1] = { ARGV[i], record, meta, waits and nodes_of(pool) or {} }
end
return reply
