--[[
  Begins a rebuild: a lane's state is cleared, to be written anew from the ledger under a new generation.

  Until `reload` the lane has no state of its own, so that every other script answers NOT_LOADED; claims that `refill`
  has written answer for their tickets already. The journal that was found is put aside for the auditor.

    KEYS[1] lane, KEYS[2] rebuild (hash: generation, nonce, held), KEYS[3] journal, KEYS[4] before (where the journal
    goes), KEYS[5] config, KEYS[6] claims, KEYS[7] shoppers, KEYS[8] causes, KEYS[9] applied
    ARGV[1] generation, ARGV[2] nonce
    ARGV[3] "generation-seq" of the lane's newest entry as the ledger has read it, "" for a lane without a state

  Returns DONE
    ALREADY            this very rebuild was begun before, or is finished; nothing changed
    CONFLICT           the lane has gone on since its journal was read: read it again
    STALE_GENERATION   the lane, or another rebuild of it, is of this or a newer generation
]]
local lane = redis.call('HMGET', KEYS[1], 'generation', 'nonce', 'seq')
local begun = redis.call('HMGET', KEYS[2], 'generation', 'nonce')
local generation = tonumber(ARGV[1])
for _, one in ipairs({lane, begun}) do
  if one[1] == ARGV[1] and one[2] == ARGV[2] then return 'ALREADY' end
  if one[1] and tonumber(one[1]) >= generation then return 'STALE_GENERATION' end
end
-- A lane that lost its configuration alone counts as lost to everybody, so nobody has read its newest entry.
local loaded = lane[1] and redis.call('EXISTS', KEYS[5]) == 1
local newest = loaded and lane[1] .. '-' .. lane[3] or ''
if newest ~= ARGV[3] then return 'CONFLICT' end

if redis.call('EXISTS', KEYS[3]) == 1 then redis.call('RENAME', KEYS[3], KEYS[4]) end
-- UNLINK: to free the claims of a large sale here would hold up every other lane.
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9])
redis.call('HSET', KEYS[2], 'generation', ARGV[1], 'nonce', ARGV[2], 'held', '0')
return 'DONE'
