//go:build unix

package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// node is one broker, which is a controller too.
type node struct {
	id                        int
	dir                       string // its configuration and its log
	plain, secure, controller string // host:port

	mu  sync.Mutex
	pid int // 0: it does not run
}

func (n *node) config() string { return filepath.Join(n.dir, "server.properties") }
func (n *node) data() string   { return filepath.Join(n.dir, "data") }
func (n *node) output() string { return filepath.Join(n.dir, "output") }

// start runs the broker. It does not wait until it serves.
func (n *node) start(classPath string, w *watcher) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pid != 0 {
		return fmt.Errorf("broker %d runs already", n.id)
	}
	out, err := os.OpenFile(n.output(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command("java", append(javaFlags("384m"), "-cp", classPath, "kafka.Kafka", n.config())...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = out, out, n.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	n.pid = cmd.Process.Pid
	return w.tell("add", n.pid)
}

// javaFlags make a small process that starts fast: two cores serve all brokers,
// and the test.
func javaFlags(heap string) []string {
	return []string{"-Xms64m", "-Xmx" + heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.showDateTime=true",
		"-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"}
}

func (n *node) signal(s syscall.Signal) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pid == 0 {
		return fmt.Errorf("broker %d does not run", n.id)
	}
	return syscall.Kill(n.pid, s)
}

// kill ends the broker at once and waits until it is gone.
func (n *node) kill(w *watcher) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pid == 0 {
		return nil
	}
	err := syscall.Kill(n.pid, syscall.SIGKILL)
	return errors.Join(err, n.reap(0, w))
}

// ended reports whether the broker ended by itself.
func (n *node) ended(w *watcher) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pid != 0 {
		_ = n.reap(syscall.WNOHANG, w)
	}
	return n.pid == 0
}

// reap collects the process. It is not left to a goroutine, which tests that look
// for leaks would find.
func (n *node) reap(options int, w *watcher) error {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(n.pid, &status, options, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid == n.pid {
			was := n.pid
			n.pid = 0
			return errors.Join(err, w.tell("drop", was))
		}
		return nil // it runs
	}
}

// tail returns the end of what the broker printed.
func (n *node) tail() string {
	b, err := os.ReadFile(n.output())
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4000):])
}

// freePorts finds n ports that nobody listens on, below those that systems give
// to outgoing connections: a broker that restarts must find its own free.
func freePorts(ctx context.Context, n int) ([]string, error) {
	var held []net.Listener
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	var addrs []string
	var lc net.ListenConfig
	port := 12000 + (os.Getpid()*37+int(time.Now().UnixNano()/1000))%19000
	for tries := 0; len(addrs) < n; tries++ {
		if tries > 2000 {
			return nil, fmt.Errorf("no %d free ports from %d on", n, port)
		}
		port++
		l, err := lc.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		held = append(held, l)
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}
