package command_test

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/klamm-io/klamm/bench/internal/command"
)

func TestFlags(t *testing.T) {
	tests := []struct {
		name  string
		args  string
		json  bool
		names []string
		sizes []int
		time  int
		err   string
	}{
		{name: "nothing", time: 10},
		{name: "quick", args: "--quick", time: 2},
		{name: "quick, but for what is said", args: "--quick --time 7", time: 7},
		{name: "all", args: "--output json --names b,a --sizes 3,1", json: true, names: []string{"b", "a"}, sizes: []int{3, 1}, time: 10},
		{name: "argument", args: "--quick more", err: `unexpected argument "more"`},
		{name: "output", args: "--output xml", err: `--output "xml": want table or json`},
		{name: "name", args: "--names a,c", err: `"c": there are a,b`},
		{name: "size", args: "--sizes 3,0", err: `"0" does not do`},
		{name: "no size", args: "--sizes x", err: `"x" does not do`},
		{name: "flag", args: "--more", err: "-more"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := command.NewFlags("test", "less", io.Discard)
			var names []string
			var sizes []int
			var time int
			f.List(&names, "names", []string{"a", "b"})
			f.Numbers(&sizes, "sizes", "", func(n int) bool { return n > 0 })
			f.IntVar(&time, "time", 0, "")
			err := f.Parse(strings.Fields(tt.args))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want %s", err, tt.err)
				}
				return
			}
			command.Fill(f, &time, 0, 10, 2)
			if err != nil || f.JSON != tt.json || !slices.Equal(names, tt.names) || !slices.Equal(sizes, tt.sizes) || time != tt.time {
				t.Errorf("%v, json %v, names %v, sizes %v, time %d", err, f.JSON, names, sizes, time)
			}
		})
	}
}
