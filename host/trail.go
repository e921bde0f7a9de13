package host

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxLinks is how many links are followed, as by Linux.
const maxLinks = 40

// trail returns the places whose change makes path another file: every symbolic
// link on the way to it, and where the last one leads.
func trail(path string) []string {
	path = filepath.Clean(path)
	places := map[string]bool{}
	for range maxLinks {
		link, rest, ok := firstLink(path)
		if !ok {
			break
		}
		places[link] = true
		to, err := os.Readlink(link)
		if err != nil {
			break // it is gone meanwhile; its folder is watched
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(link), to)
		}
		path = filepath.Join(to, rest)
	}
	places[path] = true
	return slices.Sorted(maps.Keys(places))
}

// firstLink finds the first symbolic link in path, and what follows it.
func firstLink(path string) (link, rest string, ok bool) {
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != filepath.Separator {
			continue
		}
		if info, err := os.Lstat(path[:i]); err == nil && info.Mode()&os.ModeSymlink != 0 {
			return path[:i], strings.TrimPrefix(path[i:], string(filepath.Separator)), true
		}
	}
	return "", "", false
}
