//go:build unix

package kafkatest

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
)

// settings are those of one broker, Options.Settings included.
func (c *Cluster) settings(n *node) map[string]string {
	all := len(c.nodes)
	copies := strconv.Itoa(all)
	enough := strconv.Itoa(all/2 + 1) // of 3 copies 2
	var voters []string
	for _, n := range c.nodes {
		voters = append(voters, fmt.Sprintf("%d@%s", n.id, n.controller))
	}
	s := map[string]string{
		"process.roles":                                    "broker,controller",
		"node.id":                                          strconv.Itoa(n.id),
		"controller.quorum.voters":                         strings.Join(voters, ","),
		"listeners":                                        "PLAIN://" + n.plain + ",CONTROLLER://" + n.controller,
		"advertised.listeners":                             "PLAIN://" + n.plain,
		"listener.security.protocol.map":                   "PLAIN:PLAINTEXT,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT",
		"inter.broker.listener.name":                       "PLAIN",
		"controller.listener.names":                        "CONTROLLER",
		"log.dirs":                                         n.data(),
		"default.replication.factor":                       copies,
		"min.insync.replicas":                              enough,
		"offsets.topic.replication.factor":                 copies,
		"offsets.topic.num.partitions":                     "3",
		"transaction.state.log.replication.factor":         copies,
		"transaction.state.log.min.isr":                    enough,
		"transaction.state.log.num.partitions":             "3",
		"share.coordinator.state.topic.num.partitions":     "3",
		"share.coordinator.state.topic.replication.factor": copies,
		"share.coordinator.state.topic.min.isr":            enough,
		"group.initial.rebalance.delay.ms":                 "0",
		"group.min.session.timeout.ms":                     "1000",
		"group.consumer.min.heartbeat.interval.ms":         "100",
		"group.consumer.heartbeat.interval.ms":             "200",
		"group.consumer.min.session.timeout.ms":            "1000",
		"group.consumer.session.timeout.ms":                "10000",
		"broker.session.timeout.ms":                        "6000", // two cores: shorter ones would end by themselves
		"broker.heartbeat.interval.ms":                     "1000",
		"replica.lag.time.max.ms":                          "5000",
		"unclean.leader.election.enable":                   "false",
		"auto.create.topics.enable":                        "false",
		"num.network.threads":                              "2",
		"num.io.threads":                                   "4",
		"log.cleaner.dedupe.buffer.size":                   "4194304",
		"log.segment.delete.delay.ms":                      "1000",
	}
	if c.secure != nil {
		s["listeners"] += ",SECURE://" + n.secure
		s["advertised.listeners"] += ",SECURE://" + n.secure
		maps.Copy(s, c.secure.settings(n))
	}
	maps.Copy(s, c.o.Settings)
	return s
}

func (c *Cluster) writeSettings(n *node) error {
	s := c.settings(n)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&b, "%s=%s\n", name, s[name])
	}
	return os.WriteFile(n.config(), []byte(b.String()), 0o600)
}
