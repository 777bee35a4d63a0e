--[[
  Applies the ledger's wishes to a loaded lane. The same version again is applied again: that is how a change
  lost with a failover returns. The fault latch is the lane's own and is not touched, unless it is named.

    KEYS[1] config, KEYS[2] lane
    ARGV[1] generation, ARGV[2] config version
    ARGV[3] "keep" the fault latch, "clear" it (and the highest time seen), or the fault to latch
    ARGV[4...] field, value, ... ; none to change the latch alone

  Returns DONE, NOT_LOADED, STALE_GENERATION or STALE_CONFIG
]]
local lane = redis.call('HMGET', KEYS[2], 'generation', 'fault')
if not lane[1] then return 'NOT_LOADED' end
if lane[1] ~= ARGV[1] then return 'STALE_GENERATION' end
local version = tonumber(redis.call('HGET', KEYS[1], 'config_version') or 0)
if #ARGV > 3 and tonumber(ARGV[2]) < version then return 'STALE_CONFIG' end

if #ARGV > 3 then redis.call('HSET', KEYS[1], unpack(ARGV, 4)) end
if ARGV[3] == 'clear' then
  redis.call('HSET', KEYS[2], 'fault', '', 'clock', '0')
elseif ARGV[3] ~= 'keep' and lane[2] == '' then
  redis.call('HSET', KEYS[2], 'fault', ARGV[3]) -- the first fault stays: it is the cause, later ones follow from it
end
return 'DONE'
