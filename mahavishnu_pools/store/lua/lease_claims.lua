-- Reply: the claim numbers a lease holds, or 'lost' when it was reaped. ARGV: 2 lease
if call('HEXISTS', k_leases(), ARGV[2]) == 0 then return 'lost' end
return call('HKEYS', k_claims(ARGV[2]))
