package main

import (
	"fmt"
	goruntime "runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/klamm-io/klamm/sdk/abi"
)

// release is set by -ldflags in release builds.
var release = ""

type versionInfo struct {
	Schema    string            `json:"schema"`
	Version   string            `json:"version"`
	Revision  string            `json:"revision,omitempty"`
	ABI       string            `json:"abi"`
	Go        string            `json:"go"`
	Platform  string            `json:"platform"`
	Libraries map[string]string `json:"libraries"`
}

func version() versionInfo {
	v := versionInfo{
		Schema: "klamm.version/1", Version: "devel", ABI: fmt.Sprintf("%d.%d", abi.Major, abi.Minor),
		Go: goruntime.Version(), Platform: goruntime.GOOS + "/" + goruntime.GOARCH, Libraries: map[string]string{},
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if main := info.Main.Version; main != "" && main != "(devel)" {
		v.Version = main
	}
	if release != "" {
		v.Version = release
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v.Revision = s.Value
		}
	}
	for _, d := range info.Deps {
		switch d.Path {
		case "github.com/IBM/sarama", "github.com/tetratelabs/wazero", "github.com/twmb/franz-go/pkg/kfake":
			v.Libraries[d.Path] = d.Version
		}
	}
	return v
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "version of klamm, its plugin ABI and the libraries inside",
		Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			v := version()
			if a.json() {
				return printJSON(a.out, v)
			}
			fmt.Fprintf(a.out, "klamm %s  plugin ABI %s  %s %s\n", v.Version, v.ABI, v.Go, v.Platform)
			for _, path := range sortedKeys(v.Libraries) {
				fmt.Fprintf(a.out, "  %s %s\n", path, v.Libraries[path])
			}
			return nil
		},
	}
}
