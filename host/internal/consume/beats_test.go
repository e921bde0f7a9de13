package consume

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/klamm-io/klamm"
)

// modelCoordinator is the coordinator's side of KIP-848, as far as one topic and
// whole numbers go. It refuses what a broker refuses.
type modelCoordinator struct {
	t       *rapid.T
	epoch   int32
	members map[string]*modelMember
	all     []idPartition
}

type modelMember struct {
	epoch, before int32
	assigned      idPartitions
	pending       idPartitions // revoked, and not let go yet
	target        idPartitions
}

// rebalance gives every partition to a member that the draw names.
func (c *modelCoordinator) rebalance() {
	c.epoch++
	ids := slices.Sorted(maps.Keys(c.members))
	for _, m := range c.members {
		m.target = idPartitions{}
	}
	for _, p := range c.all {
		if len(ids) > 0 {
			c.members[rapid.SampledFrom(ids).Draw(c.t, "owner")].target[p] = true
		}
	}
}

func (c *modelCoordinator) owner(p idPartition) *modelMember {
	for _, m := range c.members {
		if m.assigned[p] || m.pending[p] {
			return m
		}
	}
	return nil
}

func (c *modelCoordinator) evict(id string) {
	if c.members[id] != nil {
		delete(c.members, id)
		c.rebalance()
	}
}

func (c *modelCoordinator) heartbeat(req *kmsg.ConsumerGroupHeartbeatRequest) *kmsg.ConsumerGroupHeartbeatResponse {
	resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	refuse := func(code klamm.Code) *kmsg.ConsumerGroupHeartbeatResponse {
		resp.ErrorCode = int16(code)
		return resp
	}
	var reported idPartitions
	if req.Topics != nil {
		reported = idPartitions{}
		for _, t := range req.Topics {
			for _, p := range t.Partitions {
				reported[idPartition{t.TopicID, p}] = true
			}
		}
	}
	m, full := c.members[req.MemberID], req.SubscribedTopicNames != nil
	switch {
	case req.MemberEpoch == epochJoin:
		if reported == nil || len(reported) > 0 || !full || req.RebalanceTimeoutMillis <= 0 {
			c.t.Fatalf("a join that brokers refuse: %+v", req)
		}
		m = &modelMember{assigned: idPartitions{}}
		c.members[req.MemberID] = m
		c.rebalance()
	case m == nil:
		return refuse(klamm.CodeUnknownMemberId)
	case req.MemberEpoch != m.epoch:
		if req.MemberEpoch != m.before || reported == nil || !subset(reported, m.assigned) {
			return refuse(klamm.CodeFencedMemberEpoch)
		}
	}
	had := maps.Clone(m.assigned)
	if reported != nil && subset(reported, m.assigned) {
		m.pending = nil
	}
	c.reconcile(m)
	resp.MemberID, resp.MemberEpoch, resp.HeartbeatIntervalMillis = &req.MemberID, m.epoch, 100
	if full || !maps.Equal(had, m.assigned) {
		resp.Assignment = &kmsg.ConsumerGroupHeartbeatResponseAssignment{}
		for p := range m.assigned {
			resp.Assignment.Topics = append(resp.Assignment.Topics, kmsg.ConsumerGroupHeartbeatResponseAssignmentTopic{TopicID: p.topic, Partitions: []int32{p.partition}})
		}
	}
	return resp
}

func (c *modelCoordinator) reconcile(m *modelMember) {
	if len(m.pending) > 0 {
		return
	}
	for p := range m.assigned {
		if !m.target[p] {
			if m.pending == nil {
				m.pending = idPartitions{}
			}
			m.pending[p] = true
		}
	}
	if len(m.pending) > 0 {
		maps.DeleteFunc(m.assigned, func(p idPartition, _ bool) bool { return m.pending[p] })
		return
	}
	if m.epoch != c.epoch {
		m.before, m.epoch = m.epoch, c.epoch
	}
	for p := range m.target {
		if c.owner(p) == nil {
			m.assigned[p] = true
		}
	}
}

func subset(a, b idPartitions) bool {
	for p := range a {
		if !b[p] {
			return false
		}
	}
	return true
}

// modelClient is a member: beats, and what it reads.
type modelClient struct {
	beats
	held    idPartitions
	evicted bool // and has not heard of it
	deaf    int  // answers lost in a row
}

// step carries an assignment out, one kind of change at a time, as reconciler does.
func (c *modelClient) step() {
	if c.target == nil {
		return
	}
	next := idPartitions{}
	for p := range c.held {
		if c.target[p] {
			next[p] = true
		}
	}
	followed := c.targets - 1 // not wholly
	if maps.Equal(next, c.held) {
		next, followed = maps.Clone(c.target), c.targets
	}
	c.held = next
	c.holds(next, followed)
}

// deliver makes one heartbeat, of which the request or the answer may be lost.
func (c *modelClient) deliver(t *rapid.T, co *modelCoordinator, fault string) {
	req := c.next()
	if fault == "request lost" {
		c.unanswered()
		return
	}
	resp := co.heartbeat(req)
	if fault == "answer lost" {
		c.unanswered()
		c.deaf++
		return
	}
	deaf := c.deaf
	c.deaf = 0
	switch f := c.answered(resp); f {
	case kept, retarget:
	case expelled:
		// A coordinator remembers one epoch before the last: who has missed two
		// answers may have missed two epochs.
		if !c.evicted && deaf < 2 {
			t.Fatalf("%s is put out with %v, and did not deserve it: %+v", c.member, klamm.Code(resp.ErrorCode), req)
		}
		c.evicted, c.held = false, nil
		c.holds(nil, c.targets)
	default:
		t.Fatalf("%s: fate %d of code %d", c.member, f, resp.ErrorCode)
	}
}

// TestMembersNeverShareAPartition plays members, whose requests and answers are
// lost, against a coordinator that moves partitions and puts members out. No
// partition is read by two members, nobody is put out by its own fault, and when the
// faults end all have what they are to have.
func TestMembersNeverShareAPartition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		co := &modelCoordinator{t: t, members: map[string]*modelMember{}}
		for i := range 6 {
			co.all = append(co.all, idPartition{[16]byte{byte(i % 2)}, int32(i)})
		}
		var clients []*modelClient
		for i := range rapid.IntRange(1, 4).Draw(t, "members") {
			clients = append(clients, &modelClient{beats: beats{group: "g", member: fmt.Sprint("m", i), topics: []string{"t"}, rebalance: rebalanceTimeout}})
		}
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			c := clients[rapid.IntRange(0, len(clients)-1).Draw(t, "member")]
			switch what := rapid.SampledFrom([]string{"", "", "", "request lost", "answer lost", "step", "step", "step", "evict", "rebalance"}).Draw(t, "what"); what {
			case "step":
				c.step()
			case "evict":
				if co.members[c.member] != nil {
					co.evict(c.member)
					c.evicted = true
				}
			case "rebalance":
				co.rebalance()
			default:
				c.deliver(t, co, what)
			}
			exclusive(t, co, clients)
		}
		for range 40 {
			for _, c := range clients {
				c.deliver(t, co, "")
				c.step()
				exclusive(t, co, clients)
			}
		}
		for _, c := range clients {
			if want := co.members[c.member].target; !maps.Equal(c.held, want) || c.epoch != co.epoch {
				t.Fatalf("%s ends with %v at epoch %d, want %v at %d", c.member, c.held, c.epoch, want, co.epoch)
			}
		}
	})
}

// exclusive checks that nobody reads what the coordinator does not count as its.
func exclusive(t *rapid.T, co *modelCoordinator, clients []*modelClient) {
	for _, c := range clients {
		if c.evicted {
			continue
		}
		for p := range c.held {
			if m := co.members[c.member]; m == nil || !m.assigned[p] && !m.pending[p] {
				t.Fatalf("%s reads %v, which is not its own", c.member, p)
			}
		}
	}
}

// TestHeartbeatSaysWhatChanged: a member says what is new, and everything after a
// request that may not have arrived.
func TestHeartbeatSaysWhatChanged(t *testing.T) {
	one, two := idPartition{[16]byte{1}, 0}, idPartition{[16]byte{1}, 1}
	b := &beats{group: "g", member: "m", instance: "i", assignor: "range", topics: []string{"t"}, rebalance: rebalanceTimeout}
	says := func(what, want string) {
		t.Helper()
		r := b.next()
		got := fmt.Sprintf("epoch=%d instance=%s", r.MemberEpoch, *r.InstanceID)
		if r.SubscribedTopicNames != nil {
			got += fmt.Sprintf(" topics=%v assignor=%s timeout=%d", r.SubscribedTopicNames, *r.ServerAssignor, r.RebalanceTimeoutMillis)
		}
		if r.Topics != nil {
			got += fmt.Sprintf(" has=%d", len(b.asked))
		}
		if got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	answer := func(epoch int32, parts ...idPartition) fate {
		r := kmsg.NewPtrConsumerGroupHeartbeatResponse()
		r.MemberEpoch, r.HeartbeatIntervalMillis = epoch, 5000
		if parts != nil {
			r.Assignment = &kmsg.ConsumerGroupHeartbeatResponseAssignment{}
			for _, p := range parts {
				r.Assignment.Topics = append(r.Assignment.Topics, kmsg.ConsumerGroupHeartbeatResponseAssignmentTopic{TopicID: p.topic, Partitions: []int32{p.partition}})
			}
		}
		return b.answered(r)
	}
	refusal := func(code klamm.Code) fate {
		r := kmsg.NewPtrConsumerGroupHeartbeatResponse()
		r.ErrorCode = int16(code)
		return b.answered(r)
	}
	const all = " topics=[t] assignor=range timeout=60000"
	says("join", "epoch=0 instance=i"+all+" has=0")
	if f := answer(epochJoin, one); f != retry {
		t.Errorf("not let in yet: fate %d", f)
	}
	says("join again", "epoch=0 instance=i"+all+" has=0")
	if f := answer(3, one, two); f != retarget {
		t.Errorf("fate %d", f)
	}
	says("what it is about to take", "epoch=3 instance=i has=2")
	if f := answer(3); f != kept {
		t.Errorf("fate %d", f)
	}
	if b.holds(idPartitions{one: true, two: true}, b.targets) {
		t.Error("what the coordinator has been told is news")
	}
	says("nothing is new", "epoch=3 instance=i")
	b.unanswered()
	says("after no answer", "epoch=3 instance=i"+all+" has=2")
	if f := answer(4, one, two); f != kept {
		t.Errorf("the same assignment: fate %d", f)
	}
	says("after an assignment", "epoch=4 instance=i has=2")
	answer(4)
	says("nothing is new again", "epoch=4 instance=i")
	if f := answer(4, one); f != retarget {
		t.Errorf("fate %d", f)
	}
	says("it has not let go yet", "epoch=4 instance=i has=2")
	answer(4)
	says("the revocation goes on", "epoch=4 instance=i")
	answer(4)
	if !b.holds(idPartitions{one: true}, b.targets) {
		t.Error("what has gone is no news")
	}
	says("it has let one go", "epoch=4 instance=i has=1")
	if f := refusal(klamm.CodeFencedMemberEpoch); f != expelled {
		t.Errorf("fate %d", f)
	}
	b.holds(nil, b.targets)
	says("it joins again", "epoch=0 instance=i"+all+" has=0")
	for code, want := range map[klamm.Code]fate{
		klamm.CodeUnreleasedInstanceId: unreleased, klamm.CodeFencedInstanceId: replaced, klamm.CodeUnsupportedAssignor: refused,
		klamm.CodeGroupAuthorizationFailed: refused, klamm.CodeInvalidRequest: refused, klamm.CodeGroupMaxSizeReached: refused,
		klamm.CodeNotCoordinator: elsewhere, klamm.CodeCoordinatorLoadInProgress: retry, klamm.CodeGroupIdNotFound: refused,
	} {
		if f := refusal(code); f != want {
			t.Errorf("code %d: fate %d, want %d", code, f, want)
		}
	}
}
