-- ARGV: 2… names (none: all). Reply: {definition, status, next} of each that exists
local names, reply = { unpack(ARGV, 2) }, {}
if #names == 0 then names = call('ZRANGE', k_schedules(), 0, -1) end
for _, name in ipairs(names) do
  local h = call('HMGET', k_schedule(name), 'definition', 'status', 'next')
  if h[1] then reply[#reply + 1] = h end
end
return reply
