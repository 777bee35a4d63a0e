--[[
  Loads a lane's stock: writes the genesis entry of a generation. Idempotent by generation and nonce.

    KEYS[1] config, KEYS[2] lane, KEYS[3] claims, KEYS[4] shoppers, KEYS[5] causes, KEYS[6] journal,
    KEYS[7] applied, KEYS[8] counts, KEYS[9] rebuild
    ARGV[1] generation, ARGV[2] nonce, ARGV[3] units, ARGV[4...] field, value, ... of the configuration

  Returns {answer, "generation-seq" or "", available or "", allotment or ""}:
    DONE
    ALREADY            the same generation with the same nonce stands; nothing changed
    CONFLICT           this or a newer generation stands with another nonce, or a rebuild is under way
]]
local lane = redis.call('HMGET', KEYS[2], 'generation', 'nonce', 'seq', 'available', 'allotment')
local generation = tonumber(ARGV[1])
if lane[1] then
  if tonumber(lane[1]) == generation and lane[2] == ARGV[2] then
    return {'ALREADY', lane[1] .. '-' .. lane[3], lane[4], lane[5]}
  end
  return {'CONFLICT', '', '', ''}
end
if redis.call('EXISTS', KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[9]) > 0 then
  return {'CONFLICT', '', '', ''} -- a lane without its state, but with claims or a journal: for a rebuild to judge
end

local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local id = string.format('%.0f-0', generation)
local units = string.format('%.0f', tonumber(ARGV[3]))
local digest = redis.sha1hex(table.concat({'', id, 'load', ARGV[2], '', units, now, units}, '|'))

redis.call('XADD', KEYS[6], id, 'kind', 'load', 'cause', ARGV[2], 'shopper', '', 'quantity', units,
  'at', now, 'left', units, 'digest', digest)
redis.call('HSET', KEYS[2], 'generation', ARGV[1], 'nonce', ARGV[2], 'seq', '0', 'digest', digest,
  'available', units, 'held', '0', 'allotment', units, 'tat', '0', 'clock', '0', 'fault', '')
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
redis.call('DEL', KEYS[7], KEYS[8])
return {'DONE', id, units, units}
