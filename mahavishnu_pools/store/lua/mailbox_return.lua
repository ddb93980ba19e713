-- Puts messages back to the front of a mailbox; repeated it puts them there once. ARGV: 2 pool, 3.. texts, oldest first
local key = k_mailbox(ARGV[2])
if call('LINDEX', key, 0) == ARGV[3] then return 0 end
for i = #ARGV, 3, -1 do call('LPUSH', key, ARGV[i]) end
call('PEXPIRE', key, MAILBOX_TTL)
call('PUBLISH', k_mail(ARGV[2]), '1')
return #ARGV - 2
