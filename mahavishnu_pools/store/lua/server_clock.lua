-- Reply: seconds since the epoch, as text
return stamp(clock())
