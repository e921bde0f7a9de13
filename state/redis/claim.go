package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/klamm-io/klamm/state"
)

// claimScript takes an id for a token, unless another record has it: then it
// returns what stands there. Claims of the same run are taken over (its host knows
// that no record of its own has the id), and so is the one claim that ARGV[5]
// names.
//
// KEYS: id. ARGV: token, its life in ms, now in ms, the run, a dead claim.
var claimScript = redis.NewScript(`
local v = redis.call('GET', KEYS[1])
if v then
  if string.sub(v, 1, 2) == 'c|' then
    local e = tonumber(string.match(v, '^c|(%d+)|'))
    if not e or e == 0 or tonumber(ARGV[3]) < e then return v end
  elseif string.sub(v, 1, #ARGV[4]) ~= ARGV[4] and (ARGV[5] == '' or v ~= ARGV[5]) then
    return v
  end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return false
`)

// confirmed is the value of an id whose record was written.
func confirmed(at state.Position, expiresMS int64) string {
	return fmt.Sprintf("c|%d|%d|%d|%s", expiresMS, at.Partition, at.Offset, at.Topic)
}

func parseConfirmed(v string) (state.Position, error) {
	parts := strings.SplitN(v, "|", 5)
	if len(parts) != 5 {
		return state.Position{}, errValue
	}
	partition, err := strconv.ParseInt(parts[2], 10, 32)
	offset, err2 := strconv.ParseInt(parts[3], 10, 64)
	if err != nil || err2 != nil {
		return state.Position{}, errValue
	}
	return state.Position{Topic: parts[4], Partition: int32(partition), Offset: offset}, nil
}

var errValue = errors.New("a value that no Klamm has written: another program uses the keys of this state")

// Claim implements state.Remote. Only ids that seem to be of a host that is gone
// take a second round trip, and a third.
func (b *backend) Claim(ctx context.Context, asks []state.RemoteAsk) error {
	if err := b.ready(); err != nil {
		return err
	}
	tokens := b.newTokens(asks)
	dead := make([]string, len(asks))
	err := b.claim(ctx, asks, tokens, dead)
	if err == nil {
		var again bool
		if again, err = b.findDead(ctx, asks, dead); err == nil && again {
			err = b.claimDead(ctx, asks, tokens, dead)
		}
	}
	b.note(err)
	if err != nil {
		b.giveBack(asks, tokens)
		return b.wrap(err)
	}
	return nil
}

// newTokens names one claim for each ask. They count as held before Redis is
// asked: where the answer does not arrive, the claim may be there.
func (b *backend) newTokens(asks []state.RemoteAsk) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	tokens := make([]string, len(asks))
	for i := range asks {
		b.serial++
		tokens[i] = b.run + strconv.FormatUint(b.serial, 10)
		b.held[asks[i].ID] = held{tokens[i], asks[i].TTLMS}
	}
	return tokens
}

// giveBack releases what may have been claimed by a question without an answer.
// The ledger's own claims go on to stand where records pass; they are confirmed
// with the same tokens.
func (b *backend) giveBack(asks []state.RemoteAsk, tokens []string) {
	for i := range asks {
		b.mu.Lock()
		mine := b.held[asks[i].ID].token == tokens[i]
		b.mu.Unlock()
		if mine {
			b.Release(asks[i].ID)
		}
	}
}

// claim runs the script for all asks that are open: those without a code other
// than Pending.
func (b *backend) claim(ctx context.Context, asks []state.RemoteAsk, tokens, dead []string) error {
	cmds, err := b.pipeline(ctx, len(asks), func(p redis.Pipeliner, i int) {
		a := &asks[i]
		p.EvalSha(ctx, claimScript.Hash(), []string{b.idKey(a.ID)}, tokens[i], pendingLife.Milliseconds(), a.NowMS, b.run, dead[i])
	})
	if err != nil {
		return err
	}
	for i, cmd := range cmds {
		if err := b.answer(&asks[i], tokens[i], cmd.(*redis.Cmd), &dead[i]); err != nil {
			return err
		}
	}
	return nil
}

// answer turns a reply of the script into an answer. met is the claim that is in
// the way.
func (b *backend) answer(a *state.RemoteAsk, token string, cmd *redis.Cmd, met *string) error {
	*met = ""
	v, err := cmd.Text()
	switch {
	case errors.Is(err, redis.Nil):
		a.Code = state.New
		return nil
	case err != nil:
		return err
	}
	b.mu.Lock()
	if b.held[a.ID].token == token {
		delete(b.held, a.ID)
	}
	b.mu.Unlock()
	if strings.HasPrefix(v, "c|") {
		a.Code = state.Confirmed
		a.At, err = parseConfirmed(v)
		return err
	}
	host, _, ok := cutToken(v)
	if !ok {
		return errValue
	}
	a.Code, a.Holder, *met = state.Pending, host, v
	return nil
}

// findDead leaves in met the claims whose hosts are gone.
func (b *backend) findDead(ctx context.Context, asks []state.RemoteAsk, met []string) (any bool, err error) {
	var hosts []string
	at := map[string]int{}
	for i := range asks {
		if _, seen := at[asks[i].Holder]; met[i] != "" && !seen {
			at[asks[i].Holder] = len(hosts)
			hosts = append(hosts, asks[i].Holder)
		}
	}
	if len(hosts) == 0 {
		return false, nil
	}
	cmds, err := b.pipeline(ctx, len(hosts), func(p redis.Pipeliner, i int) { p.Get(ctx, b.hostKey(hosts[i])) })
	if err != nil {
		return false, err
	}
	for i := range asks {
		if met[i] == "" {
			continue
		}
		alive, err := cmds[at[asks[i].Holder]].(*redis.StringCmd).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return false, err
		}
		if _, run, _ := cutToken(met[i]); run == alive {
			met[i] = ""
			continue
		}
		any = true
	}
	return any, nil
}

// claimDead asks again for the ids of hosts that are gone.
func (b *backend) claimDead(ctx context.Context, asks []state.RemoteAsk, tokens, dead []string) error {
	var index []int
	var again []state.RemoteAsk
	var t, d []string
	for i := range asks {
		if dead[i] != "" {
			index, again, t, d = append(index, i), append(again, asks[i]), append(t, tokens[i]), append(d, dead[i])
		}
	}
	b.mu.Lock()
	for i := range again {
		again[i].Holder = ""
		b.held[again[i].ID] = held{t[i], again[i].TTLMS}
	}
	b.mu.Unlock()
	if err := b.claim(ctx, again, t, d); err != nil {
		return err
	}
	for i, at := range index {
		asks[at] = again[i]
	}
	return nil
}

// pipeline runs n commands in one round trip. Scripts that a restarted Redis has
// forgotten are loaded again, once.
func (b *backend) pipeline(ctx context.Context, n int, add func(redis.Pipeliner, int)) ([]redis.Cmder, error) {
	ctx, cancel := context.WithTimeout(ctx, b.o.Timeout)
	defer cancel()
	for try := 0; ; try++ {
		cmds, err := b.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i := range n {
				add(p, i)
			}
			return nil
		})
		if try == 0 && redis.HasErrorPrefix(err, "NOSCRIPT") {
			if err = b.load(ctx); err == nil {
				continue
			}
		}
		if len(cmds) != n && err == nil {
			err = fmt.Errorf("%d answers to %d commands", len(cmds), n)
		}
		return cmds, ignoreReply(err)
	}
}

// ignoreReply leaves errors of single commands to those who read their answers.
func ignoreReply(err error) error {
	if _, reply := errors.AsType[redis.Error](err); reply {
		return nil
	}
	return err
}
