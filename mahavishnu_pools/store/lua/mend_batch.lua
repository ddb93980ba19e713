-- Corrects the counts of a batch, if they still are what they were, and starts what follows it when it is complete.
-- ARGV: 2 batch, 3 total, 4 successful, 5 failed as they were, 6 to 8 as they are to be, 9 result lifetime in ms. Reply: 1 when it did
local key = k_batch(ARGV[2])
local h = call('HMGET', key, 'total', 'successful', 'failed')
if h[1] ~= ARGV[3] or h[2] ~= ARGV[4] or h[3] ~= ARGV[5] then return 0 end
call('HSET', key, 'total', ARGV[6], 'successful', ARGV[7], 'failed', ARGV[8])
batch_end(ARGV[2], clock(), math.max(1, tonumber(ARGV[9])))
return 1
