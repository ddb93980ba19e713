-- Keeps leases alive; one that was reaped stays dead. ARGV: 2 lifetime in ms, then leases. Reply: 1 or 0 a lease
even_when_full()
local reply = {}
for i = 3, #ARGV do
  if call('HEXISTS', k_leases(), ARGV[i]) == 1 then
    call('SET', k_lease(ARGV[i]), '1', 'PX', ARGV[2])
    reply[#reply + 1] = 1
  else
    reply[#reply + 1] = 0
  end
end
return reply
