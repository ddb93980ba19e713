-- Reply: for every lease: id, about (JSON), alive (1 or 0), claims held
local reply, all = {}, call('HGETALL', k_leases())
for i = 1, #all, 2 do
  reply[#reply + 1] = { all[i], all[i + 1], call('EXISTS', k_lease(all[i])), call('HLEN', k_claims(all[i])) }
end
return reply
