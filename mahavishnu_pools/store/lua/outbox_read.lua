-- Reads the outbox behind a cursor. What is too old goes first. ARGV: 2 cursor, 3 most, 4 lifetime of entries in ms
-- Reply: the entries; at most so many bytes, but one
local BYTES = 4 * 1024 * 1024
call('XTRIM', k_outbox(), 'MINID', '~', string.format('%.0f', math.max(0, clock() * 1000 - tonumber(ARGV[4]))))
local found, bytes, after = {}, 0, ARGV[2]
while #found < tonumber(ARGV[3]) and bytes < BYTES do
  local some = call('XRANGE', k_outbox(), '(' .. after, '+', 'COUNT', 10)
  if #some == 0 then break end
  for _, entry in ipairs(some) do
    if #found < tonumber(ARGV[3]) then found[#found + 1] = entry end
    after = entry[1]
    for _, text in ipairs(entry[2]) do bytes = bytes + #text end
  end
end
return found
