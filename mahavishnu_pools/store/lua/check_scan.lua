-- One step over all keys of the namespace, in no order. ARGV: 2 cursor ('0' at first), 3 about how many keys to look at
-- Reply: the next cursor ('0' when all were seen) and keys without the namespace
local found = call('SCAN', ARGV[2], 'MATCH', NS .. '*', 'COUNT', ARGV[3])
local keys = {}
for i, name in ipairs(found[2]) do keys[i] = string.sub(name, #NS + 1) end
return { found[1], keys }
