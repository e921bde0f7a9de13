package plugin

import (
	"errors"
	"math/bits"
	"strconv"
)

// Paths finds the values of several paths in one pass over a document. It keeps
// its memory between documents, so it serves one at a time.
type Paths struct {
	paths   []Path
	levels  int // steps of the longest path
	ends    []uint64
	frames  []frame
	matches []Match
	kinds   [maxDepth/64 + 1]uint64 // by depth: 1 for an object
	scratch []byte                  // a decoded key
}

// MaxPaths is how many paths a Paths can hold.
const MaxPaths = 64

// maxDepth is how deep arrays and objects may be nested, as in encoding/json.
const maxDepth = 10000

// Match is a value that a path leads to.
type Match struct {
	Path       int  // index of the path
	Start, End int  // the value is doc[Start:End]
	Superseded bool // a later member of the same name took its place
}

// frame is an open array or object that paths lead into.
type frame struct {
	start int
	alive uint64 // paths that lead into it
	seen  uint64 // of those, the ones whose name has come up in it
	index int    // of the running element
	first int    // matches[first:first+n] end where it ends
	n     int
}

// NewPaths returns a Paths over at most MaxPaths paths.
func NewPaths(paths ...Path) (*Paths, error) {
	if len(paths) > MaxPaths {
		return nil, errors.New("more than " + strconv.Itoa(MaxPaths) + " JSON paths")
	}
	p := &Paths{paths: paths}
	for _, q := range paths {
		p.levels = max(p.levels, len(q.steps))
	}
	p.ends = make([]uint64, p.levels+1)
	for i, q := range paths {
		p.ends[len(q.steps)] |= 1 << i
	}
	p.frames = make([]frame, p.levels+1)
	return p, nil
}

// FindJSON returns the raw bytes of the value that path leads to, strings with
// their quotes. It costs a scan of the whole document: use a Paths for several.
// When a name comes twice in one object the last one counts, as with most
// parsers; of several elements under [*] it returns the last. An error says that
// the document is not JSON.
func FindJSON(doc []byte, path Path) (raw []byte, ok bool, err error) {
	p, err := NewPaths(path)
	if err != nil {
		return nil, false, err
	}
	matches, err := p.Scan(doc)
	if err != nil {
		return nil, false, err
	}
	raw, ok = Last(doc, matches, 0)
	return raw, ok, nil
}

// Last returns the value of path number i that counts: the last that no later
// member of the same name has superseded.
func Last(doc []byte, matches []Match, i int) (raw []byte, ok bool) {
	for n := len(matches) - 1; n >= 0; n-- {
		if m := matches[n]; m.Path == i && !m.Superseded {
			return doc[m.Start:m.End:m.End], true
		}
	}
	return nil, false
}

// Scan checks that doc is one JSON value, by the rules of encoding/json, and
// returns what the paths lead to, ordered by Start, an outer value before those
// inside of it. Superseded values are among them, so that a plugin which removes
// secrets can remove all of them. The slice is valid until the next Scan.
func (p *Paths) Scan(doc []byte) ([]Match, error) {
	p.matches = p.matches[:0]
	at, depth := space(doc, 0), 0
	alive := ^uint64(0) >> (MaxPaths - len(p.paths)) // paths that lead to or into the value at at
	for {
		end, open, err := p.value(doc, at, depth, alive)
		if err != nil {
			return nil, err
		}
		if open {
			if depth++; depth > maxDepth {
				return nil, jsonError(at, "nested deeper than 10000")
			}
			if at = space(doc, at+1); at == len(doc) || doc[at] != closing(p.isObject(depth)) {
				if at, alive, err = p.member(doc, at, depth); err != nil {
					return nil, err
				}
				continue
			}
			end, depth = p.leave(at+1, depth), depth-1
		}
		if at, depth, err = p.after(doc, end, depth); err != nil {
			return nil, err
		}
		if depth == 0 {
			return p.matches, nil
		}
		p.next(depth)
		if at, alive, err = p.member(doc, space(doc, at+1), depth); err != nil {
			return nil, err
		}
	}
}

// after takes what follows a value that ended at end: brackets that close, then a
// comma, at which it stops, or the end of the document at depth 0.
func (p *Paths) after(doc []byte, end, depth int) (at, left int, err error) {
	for {
		at = space(doc, end)
		switch {
		case depth == 0 && at < len(doc):
			return 0, 0, jsonError(at, "something follows the value")
		case depth == 0:
			return at, 0, nil
		case at == len(doc):
			return 0, 0, jsonError(at, "unexpected end")
		case doc[at] == ',':
			return at, depth, nil
		case doc[at] != closing(p.isObject(depth)):
			return 0, 0, jsonError(at, `"," or a closing bracket expected`)
		}
		end, depth = p.leave(at+1, depth), depth-1
	}
}

func closing(object bool) byte {
	if object {
		return '}'
	}
	return ']'
}

func (p *Paths) isObject(depth int) bool { return p.kinds[depth/64]>>(depth%64)&1 != 0 }

// value takes the value at at. Of an array or object it takes the opening
// bracket only and reports open; its frame becomes that of depth+1.
func (p *Paths) value(doc []byte, at, depth int, alive uint64) (end int, open bool, err error) {
	if at >= len(doc) {
		return 0, false, jsonError(at, "a value is missing")
	}
	first := len(p.matches)
	if depth <= p.levels {
		for m := alive & p.ends[depth]; m != 0; m &= m - 1 {
			p.matches = append(p.matches, Match{Path: bits.TrailingZeros64(m), Start: at})
		}
	}
	switch doc[at] {
	case '{', '[':
		p.enter(doc[at] == '{', at, depth+1, alive, first)
		return 0, true, nil
	case '"':
		end, _, err = stringEnd(doc, at)
	case 't':
		end, err = literal(doc, at, "true")
	case 'f':
		end, err = literal(doc, at, "false")
	case 'n':
		end, err = literal(doc, at, "null")
	default:
		end, err = numberEnd(doc, at)
	}
	for i := first; i < len(p.matches); i++ {
		p.matches[i].End = end
	}
	return end, false, err
}

func (p *Paths) enter(object bool, at, depth int, alive uint64, first int) {
	bit := uint64(1) << (depth % 64)
	if object {
		p.kinds[depth/64] |= bit
	} else {
		p.kinds[depth/64] &^= bit
	}
	if depth <= p.levels+1 {
		if depth > p.levels {
			alive = 0
		}
		p.frames[depth-1] = frame{start: at, alive: alive, first: first, n: len(p.matches) - first}
	}
}

// leave ends the container of that depth at end.
func (p *Paths) leave(end, depth int) int {
	if depth <= p.levels+1 {
		f := &p.frames[depth-1]
		for i := f.first; i < f.first+f.n; i++ {
			p.matches[i].End = end
		}
	}
	return end
}

func (p *Paths) next(depth int) {
	if depth <= p.levels {
		p.frames[depth-1].index++
	}
}

// member takes the name of the next member, or nothing in an array, and returns
// where its value starts and which paths lead into it.
func (p *Paths) member(doc []byte, at, depth int) (value int, alive uint64, err error) {
	var f *frame
	if depth <= p.levels {
		f = &p.frames[depth-1]
	}
	if !p.isObject(depth) {
		return at, p.elementPaths(f, depth), nil
	}
	if at >= len(doc) || doc[at] != '"' {
		return 0, 0, jsonError(at, "a name in quotes is missing")
	}
	end, escaped, err := stringEnd(doc, at)
	if err != nil {
		return 0, 0, err
	}
	if f != nil && f.alive != 0 {
		alive = p.namePaths(f, depth, doc[at+1:end-1], escaped)
	}
	at = space(doc, end)
	if at >= len(doc) || doc[at] != ':' {
		return 0, 0, jsonError(at, `":" expected`)
	}
	return space(doc, at+1), alive, nil
}

func (p *Paths) elementPaths(f *frame, depth int) (alive uint64) {
	if f == nil {
		return 0
	}
	for m := f.alive; m != 0; m &= m - 1 {
		i := bits.TrailingZeros64(m)
		if s := p.paths[i].steps; len(s) >= depth && s[depth-1].hasIndex(f.index) {
			alive |= 1 << i
		}
	}
	return alive
}

func (p *Paths) namePaths(f *frame, depth int, name []byte, escaped bool) (alive uint64) {
	if escaped {
		p.scratch = appendUnescaped(p.scratch[:0], name)
		name = p.scratch
	}
	for m := f.alive; m != 0; m &= m - 1 {
		i := bits.TrailingZeros64(m)
		if s := p.paths[i].steps; len(s) >= depth && s[depth-1].hasKey(name) {
			alive |= 1 << i
		}
	}
	if again := alive & f.seen; again != 0 {
		p.supersede(again, f.start)
	}
	f.seen |= alive
	return alive
}

// supersede marks what the paths have found inside of the object that starts at
// start.
func (p *Paths) supersede(paths uint64, start int) {
	for n := len(p.matches) - 1; n >= 0 && p.matches[n].Start > start; n-- {
		if paths>>p.matches[n].Path&1 != 0 {
			p.matches[n].Superseded = true
		}
	}
}

func jsonError(at int, what string) error {
	return errors.New("not JSON at byte " + strconv.Itoa(at) + ": " + what)
}
