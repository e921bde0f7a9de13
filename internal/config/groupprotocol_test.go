package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestGroupProtocol(t *testing.T) {
	c := mustParse(t, "[consumer]\ngroup_protocol = \"consumer\"\ngroup_remote_assignor = \"range\"\n")
	if c.Consumer.GroupProtocol != ConsumerProtocol || c.Consumer.RemoteAssignor != "range" {
		t.Errorf("consumer is %+v", c.Consumer)
	}
	for _, row := range []struct{ name, lines, want string }{
		{"session timeout", "group_protocol = \"consumer\"\nsession_timeout_ms = \"45s\"", `c.toml:3:22: error: session_timeout_ms cannot be set with group_protocol = "consumer"`},
		{"heartbeats", "heartbeat_interval_ms = \"1s\"\ngroup_protocol = \"consumer\"", `c.toml:2:25: error: heartbeat_interval_ms cannot be set with group_protocol = "consumer"`},
		{"assignor", "group_protocol = \"consumer\"\npartition_assignment_strategy = \"range\"", `c.toml:3:33: error: partition_assignment_strategy cannot be set with group_protocol = "consumer"`},
		{"remote assignor", "group_remote_assignor = \"range\"", `c.toml:2:25: error: group_remote_assignor is given, and group_protocol is "classic"`},
		{"no such protocol", "group_protocol = \"consumers\"", `did you mean "consumer"?`},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, problems := parse(t, "[consumer]\n"+row.lines+"\n", nil)
			if got := fmt.Sprint(problems); !strings.Contains(got, row.want) {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
}

// A configuration built in Go has no keys to look at, but values.
func TestGroupProtocolWithoutAFile(t *testing.T) {
	c := Config{Consumer: Consumer{GroupProtocol: ConsumerProtocol, Assignor: "range"}}
	c.ApplyDefaults()
	if err := c.Check().Err(); err == nil || !strings.Contains(err.Error(), "partition_assignment_strategy cannot be set") {
		t.Errorf("error %v", err)
	}
	c = Config{Consumer: Consumer{GroupProtocol: ConsumerProtocol}}
	c.ApplyDefaults()
	if err := c.Check().Err(); err != nil {
		t.Error(err)
	}
}
