package state

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// childEnv names the file that this test binary, run as a child, fills until it
// is killed.
const childEnv = "KLAMM_TEST_STATE_CHILD"

func childOptions(path string) FileOptions {
	return FileOptions{
		Path: path, Name: "ids", MaxEntries: 400, MaxBytes: 1 << 20, SyncInterval: 5 * time.Millisecond, slack: 4 << 10,
	}
}

// runChild remembers ids one after the other and prints the number of each that
// is safe.
func runChild(path string) int {
	b, err := NewFile(childOptions(path))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	next := 0
	if v, ok, _ := b.Bucket("dedup").Get([]byte("next"), 0); ok {
		next, _ = strconv.Atoi(string(v)) // written below
	}
	for ; ; next++ {
		if err := b.Bucket("dedup").Remember(numbered(next), Position{Offset: int64(next)}, 0, 0); err != nil {
			fmt.Println(err)
			return 1
		}
		if next%50 == 0 {
			err = b.Bucket("dedup").Put([]byte("next"), strconv.AppendInt(nil, int64(next+1), 10), 0, 0)
		}
		if err == nil {
			err = b.Flush(time.Minute)
		}
		if err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println(next)
	}
}

// A process that is killed at any moment forgets no id that it had reported, and
// what it was writing does not keep the next one from opening the file.
func TestFileKilled(t *testing.T) {
	rounds := 12
	if exhaustive {
		rounds = 200
	}
	path := filepath.Join(t.TempDir(), "ids")
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range rounds {
		last := killedAfter(t, path, 1+rng.IntN(600))
		f, err := NewFile(childOptions(path))
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for i := max(0, last-300); i <= last; i++ {
			if at, ok, err := f.Bucket("dedup").Find(numbered(i), 0); !ok || at.Offset != int64(i) {
				t.Fatalf("round %d: id %d of %d: %v, %v, %v", round, i, last, at, ok, err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killedAfter runs a child, kills it when it has printed so many lines, and
// returns the last id that it reported.
func killedAfter(t *testing.T, path string, lines int) (last int) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childEnv+"="+path)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	scan := bufio.NewScanner(out)
	for n := 1; scan.Scan(); n++ { // also what it printed before it died
		line := strings.TrimSpace(scan.Text())
		if last, err = strconv.Atoi(line); err != nil {
			t.Fatalf("the child says: %s", line)
		}
		if n == lines {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := child.Wait(); err == nil {
		t.Fatal("the child ended by itself")
	}
	return last
}

// exhaustive turns every bit of a log of 64 KiB, not of 8 KiB.
var exhaustive = os.Getenv("KLAMM_TEST_EXHAUSTIVE") != ""
