-- Changes fields of a pool. ARGV: 2 id, 3 status it must have now (comma-separated, '' any), then name, value pairs
-- Reply: {'ok'} or {'unknown'} or {'status', what it is}
local id = ARGV[2]
local status = call('HGET', k_pool(id), 'status')
if not status then return { 'unknown' } end
if ARGV[3] ~= '' and not string.find(',' .. ARGV[3] .. ',', ',' .. status .. ',', 1, true) then return { 'status', status } end
even_when_full()
for i = 4, #ARGV, 2 do
  if ARGV[i + 1] == '' then call('HDEL', k_pool(id), ARGV[i]) else call('HSET', k_pool(id), ARGV[i], ARGV[i + 1]) end
end
reindex(id, false)
changed(id)
ring(id)
return { 'ok' }
