-- Reads one entry of the outbox. ARGV: 2 entry. Reply: it in a list, or an empty list
return call('XRANGE', k_outbox(), ARGV[2], ARGV[2])
