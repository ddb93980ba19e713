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
  local entry = entry_of(ARGV[i])
  local fields = {}
  for n = 1, #entry[2], 2 do fields[entry[2][n]] = entry[2][n + 1] end
  local waits = fields.parked_at and fields.pool and (fields.status == 'queued' or fields.status == 'retrying')
  entry[4] = waits and nodes_of(fields.pool) or {}
  reply[#reply + 1] = entry
end
return reply
