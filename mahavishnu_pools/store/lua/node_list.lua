-- Reply per node: name, about (JSON), alive (1 or 0)
local reply, all = {}, call('HGETALL', k_nodes())
for i = 1, #all, 2 do reply[#reply + 1] = { all[i], all[i + 1], call('EXISTS', k_node(all[i])) } end
return reply
