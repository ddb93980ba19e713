-- A node asks to run a pool it fits. ARGV: 2 pool, 3 node, 4 number of nodes the pool wants, 5 '1' when the node was preferred or
-- the preferred one does not fit or live. Reply: {1 or 0, assigned nodes as JSON}
local pool, node, wanted = ARGV[2], ARGV[3], tonumber(ARGV[4])
local h = call('HMGET', k_pool(pool), 'assigned', 'prefer', 'status')
if not h[3] then return { 0, '[]' } end
local old, kept, mine = h[1] and cjson.decode(h[1]) or {}, {}, false
for _, other in ipairs(old) do
  if call('EXISTS', k_node(other)) == 1 then
    kept[#kept + 1] = other
    if other == node then mine = true end
  end
end
local prefer = h[2]
local others_turn = prefer and prefer ~= '' and prefer ~= node and call('EXISTS', k_node(prefer)) == 1 and ARGV[5] ~= '1'
if not mine and #kept < wanted and not others_turn then
  kept[#kept + 1] = node
  mine = true
end
local text = #kept > 0 and cjson.encode(kept) or '[]'
if text ~= (h[1] or '[]') then
  call('HSET', k_pool(pool), 'assigned', text)
  changed(pool)
end
return { mine and 1 or 0, text }
