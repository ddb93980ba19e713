-- Reads which waiting tasks of a pool start next: by priority, then the oldest. Those that wait apart or for a time are left out.
-- ARGV: 2 pool, 3 most. Reply: task ids
local pool, most = ARGV[2], tonumber(ARGV[3])
-- Messages may be large: no more than so many bytes of them are looked at.
local MOST_BYTES = 1048576
local reply, bytes = {}, 0
for bucket = 0, BUCKETS - 1 do
  local last = -1
  while #reply < most and bytes < MOST_BYTES do
    local some = call('LRANGE', bucket_key(pool, bucket), last - 9, last)
    for i = #some, 1, -1 do
      bytes = bytes + #some[i]
      local good, m = pcall(cjson.decode, some[i])
      local id = good and type(m) == 'table' and type(m.headers) == 'table' and m.headers.id
      if type(id) == 'string' and #reply < most then reply[#reply + 1] = id end
    end
    if #some < 10 then break end
    last = last - 10
  end
end
return reply
