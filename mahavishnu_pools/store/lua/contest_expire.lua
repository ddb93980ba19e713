-- Ends contests that are not decided when their time is over. ARGV: 2 most, 3 result lifetime in ms. Reply: how many were looked at
local now = clock()
local over = call('ZRANGEBYSCORE', k_contests(), '-inf', stamp(now), 'LIMIT', 0, ARGV[2])
if #over == 0 then return 0 end
even_when_full()
local kit = contests(ARGV[3], now)
for _, batch in ipairs(over) do
  -- First: one that cannot be read must not keep the others back for ever.
  call('ZREM', k_contests(), batch)
  kit.expire(batch)
end
return #over
