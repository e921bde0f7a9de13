package config

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
)

// Check reports every mistake of a configuration, one built in Go or changed
// after loading; it sees the configuration as ApplyDefaults would leave it, and
// changes nothing. What Load returns without an error has been checked.
func (c *Config) Check() *Problems {
	whole := *c
	whole.fillDefaults()
	problems := NewProblems(c.Source)
	whole.check(problems, false)
	return problems
}

// checker collects the problems of one configuration.
type checker struct {
	*Config
	problems *Problems
	offline  bool // Options.Offline
}

func (c *Config) check(problems *Problems, offline bool) {
	k := &checker{c, problems, offline}
	if c.Version != 1 {
		k.fail(path("version"), fmt.Sprintf("version %d of the configuration is not known", c.Version), "this Klamm reads version 1")
	}
	k.cluster()
	k.producer()
	k.consumer()
	k.plugins()
	k.chains()
	k.pipelines()
	k.states()
	k.operation()
	k.unused()
}

func path(parts ...string) []string { return parts }

// fail adds an error, unless the setting has one already.
func (k *checker) fail(at []string, what, suggestion string) {
	if !k.problems.has(at) {
		k.problems.Add(at, Error, what, suggestion)
	}
}

func (k *checker) warn(at []string, what, suggestion string) {
	k.problems.Add(at, Warning, what, suggestion)
}

// between demands lo <= v <= hi.
func between[T ~int | ~int64](k *checker, at []string, v, lo, hi T) {
	switch {
	case v < lo:
		k.fail(at, fmt.Sprintf("%s: %v is too small", pathName(at), v), fmt.Sprintf("the least is %v", lo))
	case v > hi:
		k.fail(at, fmt.Sprintf("%s: %v is too large", pathName(at), v), fmt.Sprintf("the most is %v", hi))
	}
}

// oneOf demands one of a few words.
func (k *checker) oneOf(at []string, v string, words ...string) {
	if !contains(words, v) {
		e := notOneOf(v, words)
		k.fail(at, pathName(at)+": "+e.what, e.suggestion)
	}
}

func (k *checker) cluster() {
	c := &k.Cluster
	k.bootstrap(c)
	if c.ClientID == "" {
		k.fail(path("cluster", "client_id"), "cluster.client_id is empty", `the default is "klamm"`)
	}
	between(k, path("cluster", "dial_timeout"), c.DialTimeout, millis(1), seconds(600))
	between(k, path("cluster", "metadata_max_age_ms"), c.MetadataMaxAge, millis(100), seconds(24*3600))
	between(k, path("cluster", "metadata_max_idle_ms"), c.MetadataMaxIdle, seconds(5), seconds(7*24*3600))
	k.oneOf(path("cluster", "metadata_recovery_strategy"), string(c.MetadataRecovery), metadataRecoveries...)
	between(k, path("cluster", "reconnect_backoff_ms"), c.ReconnectBackoff, 0, seconds(3600))
	between(k, path("cluster", "reconnect_backoff_max_ms"), c.ReconnectBackoffMax, 0, seconds(3600))
	k.backoff("cluster", "reconnect_backoff", c.ReconnectBackoff, c.ReconnectBackoffMax)
	between(k, path("cluster", "connections_max_idle_ms"), c.ConnectionsMaxIdle, 0, seconds(7*24*3600))
	between(k, path("cluster", "send_buffer_bytes"), c.SendBuffer, 0, 1<<30)
	between(k, path("cluster", "receive_buffer_bytes"), c.ReceiveBuffer, 0, 1<<30)
	k.embedded(&c.Embedded)
	k.tls(&c.TLS)
	k.sasl(c)
}

// Check reports the mistakes of the embedded broker's settings alone, as they
// stand: no default is filled in. Their paths are those of [cluster.embedded].
func (e *Embedded) Check() *Problems {
	k := &checker{Config: &Config{}, problems: NewProblems(nil)}
	k.embedded(e)
	return k.problems
}

func (k *checker) embedded(e *Embedded) {
	at := func(key ...string) []string { return append(path("cluster", "embedded"), key...) }
	between(k, at("partitions"), e.Partitions, 1, 10_000)
	k.address(at("listen"), e.Listen)
	for i, topic := range e.Topics {
		k.topicName(at("topics", strconv.Itoa(i)), topic)
	}
}

func (k *checker) bootstrap(c *Cluster) {
	at := path("cluster", "bootstrap_servers")
	if len(c.BootstrapServers) == 0 {
		k.fail(at, "cluster.bootstrap_servers names no broker", `write ["host:9092"], or ["embedded"] for the one inside`)
	}
	for i, server := range c.BootstrapServers {
		at := join(at, strconv.Itoa(i))
		switch {
		case server == "embedded" && len(c.BootstrapServers) > 1:
			k.fail(at, `"embedded" cannot stand beside other brokers`, "keep one kind")
		case server == "embedded":
		case nearest(server, []string{"embedded"}) != "" && !strings.Contains(server, ":"):
			k.fail(at, fmt.Sprintf("%q is no host:port", server), `did you mean "embedded"?`)
		default:
			k.address(at, server)
		}
	}
}

// address demands host:port.
func (k *checker) address(at []string, s string) {
	_, port, err := net.SplitHostPort(s)
	if err == nil {
		if n, e := strconv.Atoi(port); e != nil || n < 0 || n > 65535 {
			err = fmt.Errorf("%q is no port", port)
		}
	}
	if err != nil {
		k.fail(at, fmt.Sprintf("%s: %q is no host:port", pathName(at), s), `write for example "127.0.0.1:9092"`)
	}
}

func (k *checker) tls(t *TLS) {
	at := func(key string) []string { return path("cluster", "tls", key) }
	if (t.CertFile == "") != (t.KeyFile == "") {
		key, other := "cert_file", "key_file"
		if t.CertFile == "" {
			key, other = other, key
		}
		k.fail(at(key), fmt.Sprintf("cluster.tls.%s is given without cluster.tls.%s", key, other), "a client certificate needs both")
	}
	if !t.Enabled {
		for _, s := range []struct{ key, value string }{
			{"ca_file", t.CAFile}, {"cert_file", t.CertFile}, {"key_file", t.KeyFile}, {"server_name", t.ServerName},
		} {
			if s.value != "" {
				k.fail(at(s.key), fmt.Sprintf("cluster.tls.%s is given, but TLS is off", s.key), "set enabled = true in [cluster.tls]")
				return
			}
		}
		return
	}
	if !k.offline {
		k.certificates(t)
	}
	if t.InsecureSkipVerify {
		k.warn(at("insecure_skip_verify"), "the brokers' certificates are not verified: anybody can pose as one", "use ca_file")
	}
}

func (k *checker) sasl(c *Cluster) {
	s, at := &c.SASL, path("cluster", "sasl", "mechanism")
	switch {
	case s.Mechanism == "" && (s.Username != "" || s.Password != ""):
		k.problems.missing(path("cluster", "sasl"), "mechanism", "cluster.sasl has credentials and no mechanism", `set mechanism to "SCRAM-SHA-512", "SCRAM-SHA-256" or "PLAIN"`)
		return
	case s.Mechanism == "":
		return
	}
	if k.oneOf(at, s.Mechanism, "", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"); k.problems.has(at) {
		return // what it needs is not known
	}
	if s.Username == "" {
		k.problems.missing(path("cluster", "sasl"), "username", fmt.Sprintf("cluster.sasl: %s needs a username", s.Mechanism), "set username")
	}
	if s.Password == "" {
		k.problems.missing(path("cluster", "sasl"), "password", fmt.Sprintf("cluster.sasl: %s needs a password", s.Mechanism), `set password, best as "${file:PATH}" or "${env:NAME}"`)
	}
	if s.Mechanism == "PLAIN" && !c.TLS.Enabled {
		k.warn(at, "PLAIN without TLS sends the password in clear", "set enabled = true in [cluster.tls], or use SCRAM-SHA-512")
	}
}

func (k *checker) consumer() {
	c := &k.Consumer
	at := func(key string) []string { return path("consumer", key) }
	k.oneOf(at("auto_offset_reset"), string(c.AutoOffsetReset), offsetResets...)
	k.oneOf(at("isolation_level"), string(c.IsolationLevel), isolationLevels...)
	k.groupProtocol()
	k.oneOf(at("partition_assignment_strategy"), string(c.Assignor), assignors...)
	between(k, at("auto_commit_interval_ms"), c.AutoCommit, millis(1), seconds(24*3600))
	between(k, at("max_poll_records"), c.MaxPollRecords, 1, 1<<20)
	between(k, at("fetch_min_bytes"), c.FetchMinBytes, 1, 1<<31-1)
	between(k, at("max_partition_fetch_bytes"), c.FetchMaxBytes, 1, 1<<31-1)
	between(k, at("fetch_max_wait_ms"), c.FetchMaxWait, 0, seconds(600))
	between(k, at("session_timeout_ms"), c.SessionTimeout, millis(1), seconds(3600))
	between(k, at("heartbeat_interval_ms"), c.Heartbeat, millis(1), seconds(3600))
	if c.Heartbeat >= c.SessionTimeout {
		k.fail(at(k.given("consumer", "heartbeat_interval_ms", "session_timeout_ms")),
			fmt.Sprintf("heartbeat_interval_ms %v is not below session_timeout_ms %v", c.Heartbeat, c.SessionTimeout), "Kafka advises at most a third of it")
	}
	k.retries(path("consumer"), c.Retries, c.RetryBackoff, c.RetryBackoffMax)
	if c.DeadLetterTopic != "" {
		k.topicName(at("dead_letter_topic"), c.DeadLetterTopic)
	}
	if c.GroupID == "" && c.GroupInstanceID != "" {
		k.fail(at("group_instance_id"), "group_instance_id is given without a group_id", "set group_id in [consumer]")
	}
}

// groupProtocol refuses settings that the chosen protocol leaves to others, as
// Kafka's own client does.
func (k *checker) groupProtocol() {
	c := &k.Consumer
	at := func(key string) []string { return path("consumer", key) }
	k.oneOf(at("group_protocol"), string(c.GroupProtocol), groupProtocols...)
	if c.GroupProtocol != ConsumerProtocol {
		if c.RemoteAssignor != "" {
			k.fail(at("group_remote_assignor"), `group_remote_assignor is given, and group_protocol is "classic", where the members assign`, `set group_protocol = "consumer", or use partition_assignment_strategy`)
		}
		return
	}
	d := defaultConsumer()
	for _, s := range []struct {
		key   string
		given bool
		where string
	}{
		{"session_timeout_ms", c.SessionTimeout != d.SessionTimeout, "the group's consumer.session.timeout.ms on the brokers"},
		{"heartbeat_interval_ms", c.Heartbeat != d.Heartbeat, "the group's consumer.heartbeat.interval.ms on the brokers"},
		{"partition_assignment_strategy", c.Assignor != d.Assignor, "group_remote_assignor"},
	} {
		if s.given || k.isSet("consumer", s.key) {
			k.fail(at(s.key), fmt.Sprintf(`%s cannot be set with group_protocol = "consumer", where the brokers decide it (KIP-848)`, s.key), "take it away; it is "+s.where+" then")
		}
	}
}

// given returns the first of two keys that the file gives, else the first.
func (k *checker) given(table, first, second string) string {
	if !k.isSet(table, first) && k.isSet(table, second) {
		return second
	}
	return first
}

// operation checks [host], [admin] and [log].
func (k *checker) operation() {
	between(k, path("host", "drain_timeout"), k.Host.DrainTimeout, millis(1), seconds(24*3600))
	k.oneOf(path("log", "level"), k.Log.Level, "debug", "info", "warn", "error")
	k.oneOf(path("log", "format"), k.Log.Format, "auto", "text", "json")
	listen := path("admin", "listen")
	if k.Admin.Listen == "" || strings.HasPrefix(k.Admin.Listen, "unix:") {
		return
	}
	if k.address(listen, k.Admin.Listen); k.problems.has(listen) {
		return
	}
	host, _, _ := net.SplitHostPort(k.Admin.Listen)
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) && k.Admin.Token == "" {
		k.fail(listen, fmt.Sprintf("admin.listen %q can be reached from outside and there is no token", k.Admin.Listen),
			`set token in [admin], or listen on "127.0.0.1:8686"`)
	}
}

var topicLetters = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// badTopic says why Kafka, or Klamm, does not take a topic's name.
func badTopic(name string) (what, suggestion string) {
	switch {
	case name == "":
		return "is empty", ""
	case name == "." || name == "..":
		return "is not allowed by Kafka", ""
	case len(name) > 249:
		return "is longer than Kafka's 249 letters", ""
	case !topicLetters.MatchString(name):
		return "holds letters that Kafka does not allow", `topics are made of letters, digits, ".", "_" and "-"`
	case strings.HasPrefix(name, "__"):
		return "belongs to Kafka itself", `names that start with "__" are refused`
	}
	return "", ""
}

func (k *checker) topicName(at []string, name string) { k.topic(at, name, name) }

// topicPattern takes a topic's name or a glob.
func (k *checker) topicPattern(at []string, pattern string) {
	letters := pattern
	if isGlob(pattern) {
		letters = strings.NewReplacer("*", "", "?", "").Replace(pattern) + "x"
	}
	k.topic(at, pattern, letters)
}

func (k *checker) topic(at []string, name, letters string) {
	if what, suggestion := badTopic(letters); what != "" {
		k.fail(at, fmt.Sprintf("%s: topic name %q %s", pathName(at), name, what), suggestion)
	}
}
