-- Reply: for every lease: id, about (JSON), alive (1 or 0), claims held, whether the agent of its node lives (1 or 0)
local reply, all = {}, call('HGETALL', k_leases())
for i = 1, #all, 2 do
  local alive, held = call('EXISTS', k_lease(all[i])), call('HLEN', k_claims(all[i]))
  reply[#reply + 1] = { all[i], all[i + 1], alive, held, call('EXISTS', k_node(cjson.decode(all[i + 1]).node)) }
end
return reply
