// Package judge is the benchmark's service as go-plugin's generator writes it,
// for host and guest.
package judge

//go:generate protoc --go-plugin_out=. --go-plugin_opt=paths=source_relative judge.proto
