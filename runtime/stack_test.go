package runtime

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klamm-io/klamm/sdk/abi"
)

// here is the line of the source that is marked with a word.
func here(t *testing.T, mark string) int {
	t.Helper()
	b, err := os.ReadFile("../testdata/faulty/faulty.c")
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(string(b), "\n") {
		if strings.Contains(line, "here: "+mark+" ") {
			return i + 1
		}
	}
	t.Fatalf("nothing is marked %q", mark)
	return 0
}

// trapStack is the stack of a trap at a record with that key.
func trapStack(t *testing.T, wasm []byte, key string) string {
	t.Helper()
	p := newEngine(t).NewPlugin(PluginConfig{Name: "p", Timeout: 10 * time.Second, Grants: GrantAll})
	t.Cleanup(func() { _ = p.Close(context.Background()) })
	if err := p.Load(context.Background(), wasm); err != nil {
		t.Fatal(err)
	}
	_, err := sit(t, p, newFakeHost()).Judge(context.Background(), abi.OnSend, withKeys("a", key))
	return as[*TrapError](t, err).Stack
}

// wantFrames demands these parts of a stack's lines, in order, one a line, though
// others may stand between.
func wantFrames(t *testing.T, stack string, want ...string) {
	t.Helper()
	for _, line := range strings.Split(stack, "\n") {
		if len(want) > 0 && strings.Contains(line, want[0]) {
			want = want[1:]
		}
	}
	if len(want) > 0 {
		t.Errorf("no %q in the stack:\n%s", want[0], stack)
	}
}

func TestStackOfACGuestHasLines(t *testing.T) {
	committed, err := os.ReadFile("../testdata/faulty/faulty.wasm")
	if err != nil {
		t.Fatal(err)
	}
	for name, wasm := range map[string][]byte{"committed": committed, "built now": builtFaulty(t)} {
		t.Run(name, func(t *testing.T) {
			if wasm == nil {
				t.Skip("clang with wasm32, wasm-ld or bash is missing; .ci/toolchains installs them")
			}
			at := func(mark string) string { return fmt.Sprintf(" at faulty.c:%d", here(t, mark)) }
			wantFrames(t, trapStack(t, wasm, "t"),
				"give_up("+")"+at("give_up"), "act("+"i32)"+at("act"), "_on_send("+"i32,i32) i64"+at("judge"))
			wantFrames(t, trapStack(t, wasm, "w"), "act("+"i32)"+at("nowhere"), at("judge"))
		})
	}
}

// A guest that spins tells where.
func TestStackOfADeadline(t *testing.T) {
	wr := faulty(t).sit(t, newEngine(t))
	wr.s.p.cfg.Timeout = 5 * time.Millisecond
	_, err := wr.s.Judge(context.Background(), abi.OnSend, withKeys("s"))
	as[*DeadlineError](t, err)
	wantFrames(t, StackOf(err), "act("+"i32) at faulty.c:", fmt.Sprintf(" at faulty.c:%d", here(t, "judge")))
}

// builtFaulty builds the fixture, or returns nil where no compiler can.
func builtFaulty(t *testing.T) []byte {
	t.Helper()
	for _, tool := range []string{"clang", "wasm-ld", "bash"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil
		}
	}
	if targets, err := exec.Command("clang", "--print-targets").Output(); err != nil || !bytes.Contains(targets, []byte("wasm32")) {
		return nil
	}
	out := filepath.Join(t.TempDir(), "faulty.wasm")
	if msg, err := exec.Command("bash", "../testdata/faulty/build.sh", out).CombinedOutput(); err != nil {
		t.Fatalf("build.sh: %v\n%s", err, msg)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestStackOfAGoGuestHasNames(t *testing.T) {
	if testing.Short() {
		t.Skip("not in the short form: it builds a plugin with the Go toolchain")
	}
	wasm, err := goGuest()
	if err != nil {
		t.Fatal(err)
	}
	stack := trapStack(t, wasm, "panic")
	wantFrames(t, stack, "runtime.gopanic", "main.act", "plugin.")
}
