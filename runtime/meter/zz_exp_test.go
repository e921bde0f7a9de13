package meter

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
)

func rss() string {
	b, _ := os.ReadFile("/proc/self/status")
	for _, l := range strings.Split(string(b), "\n") {
		if strings.HasPrefix(l, "VmRSS") || strings.HasPrefix(l, "VmHWM") {
			fmt.Print(l, " ")
		}
	}
	fmt.Println()
	return ""
}

func TestExpRecursion(t *testing.T) {
	ctx := context.Background()
	r := wazero.NewRuntime(ctx)
	// func 0: call 0 ; export "f"
	m := []byte("\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x07\x05\x01\x01f\x00\x00\x0a\x06\x01\x04\x00\x10\x00\x0b")
	mod, err := r.Instantiate(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	rss()
	f := mod.ExportedFunction("f")
	for range 3 {
		s := time.Now()
		_, err = f.Call(ctx)
		fmt.Println(time.Since(s), err)
		rss()
	}
}
