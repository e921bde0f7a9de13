package config

import (
	"fmt"
	"reflect"
	"sort"
	"strings"
)

// otherNames are what people write who come from other tools, and what Klamm
// calls it.
var otherNames = map[string]string{
	"source": "module", "path": "module", "wasm": "module", "file": "module",
	"dlq": "dead_letter_topic", "dlq_topic": "dead_letter_topic", "dead_letter": "dead_letter_topic",
	"brokers": "bootstrap_servers", "broker": "bootstrap_servers", "bootstrap_server": "bootstrap_servers",
	"plugins": "on_send", "interceptors": "on_send", "interceptor_classes": "on_send", "on_ack": "on_acknowledgement",
	"workers": "lanes", "instances": "lanes", "linger": "linger_ms", "compression": "compression_type", "codec": "compression_type",
	"offset_reset": "auto_offset_reset", "start": "auto_offset_reset", "assignor": "partition_assignment_strategy",
	"compression_gzip_level": "compression_level", "compression_lz4_level": "compression_level", "compression_zstd_level": "compression_level",
	"socket_connection_setup_timeout_ms": "dial_timeout", "socket_connection_setup_timeout_max_ms": "dial_timeout",
	"input": "from", "source_topic": "from", "output_topic": "to", "topic": "topics", "ttl": "max_entries",
}

// notYet are Kafka settings that are understood and not offered.
var notYet = map[string]string{
	"partitioner_class": `name a plugin or a built-in one with "partitioner"`,
	"key_serializer":    "keys and values are bytes here", "value_serializer": "keys and values are bytes here",
	"key_deserializer": "keys and values are bytes here", "value_deserializer": "keys and values are bytes here",
	"security_protocol": "use [cluster.tls] and [cluster.sasl]", "sasl_jaas_config": "use [cluster.sasl]",
	"enable_metrics_push":                      "brokers are not sent metrics; Prometheus scrapes them from [admin]",
	"metric_reporters":                         "Prometheus scrapes the metrics from [admin]",
	"metadata_recovery_rebootstrap_trigger_ms": "the bootstrap servers are asked as soon as no known broker answers",
}

// unknown reports a key that its table does not have.
func (d *decoder) unknown(path []string, name string, isTable bool, t reflect.Type) {
	d.unknownAt(join(path, name), path, name, name, isTable, t)
}

// unknownAt reports the key at place, written so in table, which would be
// setting.
func (d *decoder) unknownAt(place, table []string, written, setting string, isTable bool, t reflect.Type) {
	d.problems.unknownIn[joinPath(table)] = true
	if d.problems.full(Error) {
		return
	}
	keys := sortedFields(t)
	if n := nearest(setting, keys); strings.EqualFold(n, setting) {
		d.problems.AddKey(place, Error, fmt.Sprintf("unknown key %q in %s: keys are written in lower case", written, tableName(table)),
			fmt.Sprintf("did you mean %q?", as(n, written)))
		return
	}
	what := "key"
	if n := d.source.find(place); isTable && (n == nil || !n.value.valid()) {
		what = "table"
	}
	d.problems.AddKey(place, Error, fmt.Sprintf("unknown %s %q in %s", what, written, tableName(table)), suggestKey(setting, written, table, keys))
}

func suggestKey(setting, written string, table, keys []string) string {
	setting = strings.ReplaceAll(strings.ToLower(setting), "-", "_")
	if other, ok := otherNames[setting]; ok && contains(keys, other) {
		return fmt.Sprintf("did you mean %q?", other)
	}
	if all := nearestAll(setting, keys); len(all) > 0 {
		for i, n := range all {
			all[i] = fmt.Sprintf("%q", as(n, written))
		}
		return "did you mean " + strings.Join(all, " or ") + "?"
	}
	if n := withUnit(setting, keys); n != "" {
		return fmt.Sprintf("did you mean %q?", as(n, written))
	}
	if why, ok := notYet[setting]; ok {
		return why
	}
	if elsewhere := tablesWith(setting); len(elsewhere) > 0 {
		return fmt.Sprintf("it is a key of %s", strings.Join(elsewhere, " and "))
	}
	if len(keys) <= 12 {
		return "there are " + quoteList(keys)
	}
	return ""
}

// withUnit finds linger_ms for linger and the like.
func withUnit(setting string, keys []string) string {
	for _, k := range keys {
		if k == setting+"_ms" || k+"_ms" == setting {
			return k
		}
	}
	return ""
}

// as writes key with dots where the key at fault was written with them.
func as(key, written string) string {
	if strings.Contains(written, ".") {
		return strings.ReplaceAll(key, "_", ".")
	}
	return key
}

func sortedFields(t reflect.Type) []string { return sortedKeys(fieldsOf(t)) }

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

// tablesWith lists the tables that have a key of that name.
func tablesWith(key string) []string {
	var tables []string
	eachTable(reflect.TypeFor[Config](), nil, func(path []string, t reflect.Type) {
		if _, ok := fieldsOf(t)[key]; ok {
			tables = append(tables, tableName(path))
		}
	})
	sort.Strings(tables)
	return tables
}

// eachTable calls f for the struct t and every table below it.
func eachTable(t reflect.Type, path []string, f func(path []string, t reflect.Type)) {
	f(path, t)
	for i := range t.NumField() {
		sub, at := t.Field(i).Type, join(path, t.Field(i).Tag.Get("toml"))
		if sub.Kind() == reflect.Map {
			sub, at = sub.Elem(), join(at, "NAME")
		}
		if sub.Kind() == reflect.Struct {
			eachTable(sub, at, f)
		}
	}
}
