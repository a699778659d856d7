"""Which waiting job is next: three lanes a kind, the higher first, and yet none waits for ever.

A message in a queue says that a job of its kind waits, not which one: the worker that takes it asks here. Of SHARES turns
the last belongs first to `low`, every fourth first to `normal`, the others to `high`; a lane that is empty leaves its
turn to the highest that is not. So under any load `low` gets one turn in 16 and `normal` at least three.

Within a lane the owners of the jobs (the API keys of their requests; one more stands for all jobs without) take turns, a job each:
a thousand jobs of one delay another's next by one. An owner comes after those who wait already, and again after them
with each turn. Its own jobs are done as they came.

    shitu:jobs:lane:{kind}:{priority}              zset   waiting jobs by the time from which they may run
    shitu:jobs:lane:{kind}:{priority}:of:{owner}   zset   likewise of one owner
    shitu:jobs:lane:{kind}:{priority}:owners       zset   owners with waiting jobs by their turns
    shitu:jobs:turns                               hash   kind -> how many turns there were; owners -> the last turn given

The scripts that change a job keep them (infra.jobs.scripts).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contracts.jobs import PRIORITIES
from infra.jobs.scripts import CLOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import redis

    from contracts.jobs import JobKind, Priority

TURNS = "shitu:jobs:turns"
FETCH = "fetch"  # in place of a kind: jobs whose photo is still to be fetched
SHARES = 16
MOST_TRIES = 100  # jobs that were given up meanwhile, or started by others, before a message is left alone

# The job leaves its lane here: one that cannot even be started must not stand before all others. If nobody starts it,
# the sweeper puts it back.
_NEXT = (
    CLOCK
    + """
local kind, turns = ARGV[2], redis.call('HINCRBY', KEYS[4], ARGV[2], 1)
local order = {1, 2, 3}
if turns % 16 == 0 then order = {3, 1, 2} elseif turns % 4 == 0 then order = {2, 1, 3} end
for _, lane in ipairs(order) do
  local owners = KEYS[lane] .. ':owners'
  for _, owner in ipairs(redis.call('ZRANGE', owners, 0, -1)) do
    local own = KEYS[lane] .. ':of:' .. owner
    local found = redis.call('ZRANGEBYSCORE', own, '-inf', seconds(now), 'LIMIT', 0, 1)
    if found[1] then
      redis.call('ZREM', KEYS[lane], found[1])
      redis.call('ZREM', own, found[1])
      if redis.call('ZCARD', own) == 0 then redis.call('ZREM', owners, owner)
      else redis.call('ZADD', owners, redis.call('HINCRBY', KEYS[4], 'owners', 1), owner) end
      return found[1]
    end
  end
  -- Those that came before there were owners.
  local found = redis.call('ZRANGEBYSCORE', KEYS[lane], '-inf', seconds(now), 'LIMIT', 0, 1)
  if found[1] then
    redis.call('ZREM', KEYS[lane], found[1])
    return found[1]
  end
end
return false
"""
)


# For each lane of KEYS, how many of its jobs are before a new one of the owner ARGV[1]; in lane ARGV[3] (0: in none), before
# the job with the id ARGV[2]; and how many jobs each lane has. Of each other owner at most as many as it has before it of its own, and one more.
AHEAD = """
local owner, id, its_lane, answer, counts = ARGV[1], ARGV[2], tonumber(ARGV[3]), {}, {}
for place, lane in ipairs(KEYS) do
  local own = lane .. ':of:' .. owner
  local ahead = place == its_lane and redis.call('ZRANK', own, id) or place ~= its_lane and redis.call('ZCARD', own)
  if ahead then
    local most = ahead + 1
    for _, other in ipairs(redis.call('ZRANGE', lane .. ':owners', 0, -1)) do
      if other ~= owner then ahead = ahead + math.min(redis.call('ZCARD', lane .. ':of:' .. other), most) end
    end
  end
  answer[place] = ahead or redis.call('ZRANK', lane, id)
  counts[place] = redis.call('ZCARD', lane)
end
return {answer, counts}
"""


class Lanes:
    """The lanes of one Redis; may be used by many threads. `clock` gives the scripts' first argument."""

    def __init__(self, client: redis.Redis, clock: Callable[[], str]) -> None:
        self._clock = clock
        self._next = client.register_script(_NEXT)

    def next(self, kind: JobKind | str) -> str | None:
        """Takes the next job of this kind (or FETCH) out of its lane; None: none waits."""
        keys = [*(lane_key(kind, priority) for priority in PRIORITIES), TURNS]
        found = self._next(keys=keys, args=[self._clock(), str(kind)])
        return None if found is None else str(found)

    def candidates(self, kind: JobKind | str, job_id: str) -> Iterator[str]:
        """What a worker should try to start, one after another until it holds one: the next jobs, then the message's own."""
        for _ in range(MOST_TRIES):
            found = self.next(kind)
            if found is None:
                break
            yield found
        yield job_id


def lane_key(kind: JobKind | str, priority: Priority) -> str:
    """The key of a lane."""
    return f"shitu:jobs:lane:{kind}:{priority}"


def place(ahead: int, waiting: Mapping[Priority, int], priority: Priority) -> int:
    """Which turn a job gets, from 1, that has `ahead` before it in its lane, where so many are `waiting` in the others.

    As in the script, with turns in fractions: a lane's share of them changes only when another one has run empty.
    """
    left = {one: float(waiting.get(one, 0)) for one in PRIORITIES} | {priority: ahead + 1.0}
    turns = 0.0
    while True:
        shares = _shares([one for one in PRIORITIES if left[one] > 0])
        mine = left[priority] / shares[priority]
        step = min((left[one] / share for one, share in shares.items() if one != priority), default=mine)
        if mine <= step:
            return max(ahead + 1, round(turns + mine))
        turns += step
        for one, share in shares.items():
            left[one] = max(0.0, left[one] - share * step)
            if left[one] < 1e-9:
                left[one] = 0.0


def _shares(waiting: list[Priority]) -> dict[Priority, float]:
    """The share of turns of each lane that is not empty."""
    high, normal, low = PRIORITIES
    turns: dict[Priority, int] = {high: 12, normal: 3, low: 1}
    shares = {one: turns[one] / SHARES for one in waiting}
    shares[waiting[0]] += 1 - sum(shares.values())
    return shares
