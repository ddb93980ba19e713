-- Reads what was used on days. ARGV: the newest day (days since 1970, '' today) and how many days back. Reply: day, {field, value…}, …
local newest = tonumber(ARGV[2]) or math.floor(clock() / 86400)
local reply = {}
for day = newest, newest - tonumber(ARGV[3]) + 1, -1 do
  local all = call('HGETALL', k_usage(tostring(day)))
  if #all > 0 then
    reply[#reply + 1] = day
    reply[#reply + 1] = all
  end
end
return reply
