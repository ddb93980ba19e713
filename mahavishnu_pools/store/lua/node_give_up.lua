-- A node does not run a pool any more that it was assigned to. ARGV: 2 pool, 3 node. Reply: 1 when it was assigned, else 0
local text = call('HGET', k_pool(ARGV[2]), 'assigned')
local kept, mine = {}, 0
for _, other in ipairs(text and cjson.decode(text) or {}) do
  if other == ARGV[3] then mine = 1 else kept[#kept + 1] = other end
end
if mine == 1 then
  even_when_full()
  call('HSET', k_pool(ARGV[2]), 'assigned', #kept > 0 and cjson.encode(kept) or '[]')
  changed(ARGV[2])
end
return mine
