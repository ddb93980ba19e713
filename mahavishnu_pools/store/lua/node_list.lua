-- Reply per node: name, about (JSON), alive (1 or 0), what is in use of it (JSON: resource to amount)
local reply, all = {}, call('HGETALL', k_nodes())
for i = 1, #all, 2 do
  local used = call('EXISTS', k_used(all[i])) == 1 and needs_kit().stock_of(all[i]).used or {}
  reply[#reply + 1] = { all[i], all[i + 1], call('EXISTS', k_node(all[i])), cjson.encode(used) }
end
return reply
