-- Takes the oldest messages out of a pool's mailbox. A request gets the same ones when it is repeated.
-- ARGV: 2 pool, 3 who asks, 4 number of the request, higher each time, 5 most. Reply: texts
local taken = k_mail_taken(ARGV[3])
local number, from = string.match(call('GET', taken) or '', '^(%d+)\n()')
if number == ARGV[4] then return cjson.decode(string.sub(call('GET', taken), from)) end
local texts = call('LPOP', k_mailbox(ARGV[2]), ARGV[5])
if not texts then
  if number then call('DEL', taken) end
  return {}
end
call('SET', taken, ARGV[4] .. '\n' .. cjson.encode(texts), 'EX', 60)
return texts
