--[[
  Publishes how far the ledger has come. Never backwards within a generation: two drains may publish out of order.

    KEYS[1] applied, KEYS[2] lane
    ARGV[1] generation, ARGV[2] seq

  Returns DONE, ALREADY (as far or further), NOT_LOADED or STALE_GENERATION
]]
local generation = redis.call('HGET', KEYS[2], 'generation')
if not generation then return 'NOT_LOADED' end
if generation ~= ARGV[1] then return 'STALE_GENERATION' end
local g, s = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+)%-(%d+)$')
if g == ARGV[1] and tonumber(s) >= tonumber(ARGV[2]) then return 'ALREADY' end
redis.call('SET', KEYS[1], ARGV[1] .. '-' .. ARGV[2])
return 'DONE'
