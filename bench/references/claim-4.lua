--[[
  Takes a unit for a shopper: what a sale needs of Redis and no more.

    KEYS[1] stock    string  units left
    KEYS[2] claims   hash    shopper -> ms of the last try
    KEYS[3] bucket   string  the token bucket's theoretical arrival time, ms
    KEYS[4] journal  stream  one entry a unit

    ARGV[1] shopper   ARGV[2] reservation   ARGV[3] repeat window, ms   ARGV[4] ms between tokens   ARGV[5] burst

  Returns the units left, -1 for a repeat, -2 when sold out, -3 when throttled.
]]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local last = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or 0)
if now - last < tonumber(ARGV[3]) then return -1 end
local left = tonumber(redis.call('GET', KEYS[1]) or 0)
if left <= 0 then return -2 end
local period = tonumber(ARGV[4])
local tat = math.max(tonumber(redis.call('GET', KEYS[3]) or 0), now) + period
if tat - tonumber(ARGV[5]) * period > now then return -3 end
redis.call('SET', KEYS[3], tat)
redis.call('HSET', KEYS[2], ARGV[1], now)
redis.call('DECR', KEYS[1])
redis.call('XADD', KEYS[4], '*', 's', ARGV[1], 'r', ARGV[2])
return left - 1
