//go:build unix

package kafkatest

import (
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"
)

// watcher is a process that outlives this one for a moment: when its standard
// input ends, because this process has ended in whatever way, it kills the
// brokers and removes their folder.
type watcher struct {
	mu    sync.Mutex
	cmd   *exec.Cmd
	input io.WriteCloser
}

const watching = `
trap '' INT TERM HUP
pids=
while read -r op pid; do
	case $op in
	add) pids="$pids $pid" ;;
	drop)
		left=
		for p in $pids; do [ "$p" = "$pid" ] || left="$left $p"; done
		pids=$left
		;;
	esac
done
[ -z "$pids" ] || kill -KILL $pids 2>/dev/null
for try in 1 2 3 4 5; do
	rm -rf "$1" 2>/dev/null && break
	sleep 1
done
`

func startWatcher(dir string) (*watcher, error) {
	w := &watcher{cmd: exec.Command("sh", "-c", watching, "kafkatest", dir)}
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's ^C is not for it
	var err error
	if w.input, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := w.cmd.Start(); err != nil {
		return nil, fmt.Errorf("watch the brokers: %w", err)
	}
	return w, nil
}

func (w *watcher) tell(op string, pid int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := fmt.Fprintf(w.input, "%s %d\n", op, pid)
	return err
}

// end has it do its work now, and waits for that.
func (w *watcher) end() error {
	w.input.Close()
	return w.cmd.Wait()
}
