-- What routing strategies measure by. ARGV: 2 task type, then pool ids
-- Reply: {edges of the buckets}, then per pool: id, wanted workers, queued, running, run seconds in all and of how many, runs of AI programs
-- and their dollars, {completed tasks of the type by bucket of their run time}
local kind, edges = string.sub(ARGV[2], 1, 128), {}
for i, edge in ipairs(EDGES) do edges[i] = tostring(edge) end
local fields = {}
for edge = 1, #EDGES + 1 do fields[edge] = 't\n' .. kind .. '\ncompleted\n' .. edge end
local reply = { edges }
for i = 3, #ARGV do
  local id = ARGV[i]
  local h = call('HMGET', k_pool(id), 'workers', 'duration_sum', 'duration_count')
  local s = call('HMGET', k_spent(id), 'life runs', 'life usd')
  local counts = call('HMGET', k_figures(id), unpack(fields))
  for n = 1, #fields do counts[n] = counts[n] or '0' end
  reply[#reply + 1] = { id, h[1] or '0', queued_of(id), running_of(id), h[2] or '', h[3] or '', s[1] or '', s[2] or '', counts }
end
return reply
