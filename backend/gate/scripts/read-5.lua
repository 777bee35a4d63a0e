--[[
  Reads a lane at one instant, for the audit, the console and the API's view of it. Changes nothing.

  A primary that was frozen while another was elected answers readers until the sentinels reach it, some ten seconds
  after it wakes; writers it refuses, as its replicas have gone. So whoever is about to judge asks by a write that
  changes nothing.

    KEYS[1] config, KEYS[2] lane, KEYS[3] journal, KEYS[4] applied, KEYS[5] counts
    ARGV[1] "generation-seq" whose entry is wanted too, or ""
    ARGV[2] "1" to be refused by a server that takes no writes

  Returns {now_ms, {field, value, ...} of config, of lane, of counts, applied or "",
    left of the newest entry or "", left and digest of the entry asked for or ""}
]]
local function field(entry, name)
  for i = 1, #entry, 2 do
    if entry[i] == name then return entry[i + 1] end
  end
  return ''
end

if ARGV[2] == '1' then redis.call('HDEL', KEYS[2], '') end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local newest = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)
local asked = ARGV[1] ~= '' and redis.call('XRANGE', KEYS[3], ARGV[1], ARGV[1]) or {}
return {
  now,
  redis.call('HGETALL', KEYS[1]),
  redis.call('HGETALL', KEYS[2]),
  redis.call('HGETALL', KEYS[5]),
  redis.call('GET', KEYS[4]) or '',
  newest[1] and field(newest[1][2], 'left') or '',
  asked[1] and field(asked[1][2], 'left') or '',
  asked[1] and field(asked[1][2], 'digest') or '',
}
