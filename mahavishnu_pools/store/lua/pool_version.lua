-- Reply: the registry's version
return tonumber(call('GET', k_registry()) or 0)
