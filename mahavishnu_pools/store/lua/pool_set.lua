-- Changes fields of a pool. ARGV: 2 id, 3 status it must have now (comma-separated, '' any), 4 revision its configuration
-- must have ('' any), then name, value pairs
-- Reply: {'ok'} or {'unknown'} or {'status', what it is} or {'changed'}
local id = ARGV[2]
local status = call('HGET', k_pool(id), 'status')
if not status then return { 'unknown' } end
if ARGV[3] ~= '' and not string.find(',' .. ARGV[3] .. ',', ',' .. status .. ',', 1, true) then return { 'status', status } end
if ARGV[4] ~= '' and ARGV[4] ~= (call('HGET', k_pool(id), 'revision') or '0') then return { 'changed' } end
even_when_full()
for i = 5, #ARGV, 2 do
  -- The autoscaler leaves a number that somebody chose alone for a while.
  if ARGV[i] == 'workers' then
    call('HSET', k_pool(id), 'chosen_at', stamp(clock()))
    note_scaling(id, call('HGET', k_pool(id), 'workers'), ARGV[i + 1], 'hand', '')
  end
  if ARGV[i] == 'config' then call('HINCRBY', k_pool(id), 'revision', 1) end
  if ARGV[i] == 'status' then call('HDEL', k_pool(id), 'spent_on') end -- it is not the budget any more that pauses it
  if ARGV[i + 1] == '' then call('HDEL', k_pool(id), ARGV[i]) else call('HSET', k_pool(id), ARGV[i], ARGV[i + 1]) end
end
reindex(id, false)
changed(id)
tell_status(id, status, call('HGET', k_pool(id), 'status'))
ring(id)
return { 'ok' }
