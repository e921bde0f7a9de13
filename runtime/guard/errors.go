package guard

import (
	"fmt"
	"strings"
)

// maxProblems bounds how many problems of one module are listed.
const maxProblems = 50

// Error lists what is wrong with a module. A module whose structure is broken
// is read up to the break, so what stands behind it is not in the list.
type Error struct {
	Name     string // as given to Check
	Problems []string
}

func (e *Error) Error() string {
	if len(e.Problems) == 1 {
		return fmt.Sprintf("module %q refused: %s", e.Name, e.Problems[0])
	}
	return fmt.Sprintf("module %q refused: %d problems:\n  %s",
		e.Name, len(e.Problems), strings.Join(e.Problems, "\n  "))
}

// problems gathers a list without letting a hostile module make it long.
type problems struct {
	list    []string
	dropped int
}

func (p *problems) addf(format string, args ...any) {
	if len(p.list) == maxProblems {
		p.dropped++
		return
	}
	p.list = append(p.list, fmt.Sprintf(format, args...))
}

func (p *problems) err(name string) error {
	if len(p.list) == 0 {
		return nil
	}
	if p.dropped > 0 {
		p.list = append(p.list, fmt.Sprintf("and %d more", p.dropped))
	}
	return &Error{Name: name, Problems: p.list}
}
