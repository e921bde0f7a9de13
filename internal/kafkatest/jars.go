//go:build unix

package kafkatest

import (
	"bufio"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

//go:embed jars.sha256
var jarList string

// Version is that of the brokers.
var Version = regexp.MustCompile(`kafka-clients-([0-9.]+)\.jar`).FindStringSubmatch(jarList)[1]

// jarDir is where .ci/kafka puts the jars.
func jarDir() (string, error) {
	if dir := os.Getenv("KLAMM_KAFKA_DIR"); dir != "" {
		return dir, nil
	}
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(home, ".cache")
	}
	return filepath.Join(cache, "klamm", "kafka-"+Version), nil
}

// jars returns the class path, once it is sure that the jars are those of the
// list.
var jars = sync.OnceValues(func() (string, error) {
	if _, err := exec.LookPath("java"); err != nil {
		return "", fmt.Errorf("brokers need Java 17: %w; run .ci/kafka, which installs it where it can", err)
	}
	dir, err := jarDir()
	if err != nil {
		return "", err
	}
	list := bufio.NewScanner(strings.NewReader(jarList))
	for list.Scan() {
		want, name, _ := strings.Cut(list.Text(), "  ")
		if err := checkJar(filepath.Join(dir, name), want); err != nil {
			return "", fmt.Errorf("jars of Kafka %s: %w; run .ci/kafka to fetch them", Version, err)
		}
	}
	return filepath.Join(dir, "*"), nil
})

func checkJar(path, want string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return fmt.Errorf("%s has the digest %s, want %s", path, got, want)
	}
	return nil
}
