package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
)

// maxLine bounds a line of stdin: more than any broker takes by default, less
// than would hurt.
const maxLine = 64 << 20

// lineReader reads lines on a goroutine of its own, so that a Ctrl-C does not
// wait for stdin. That goroutine ends with the process or with stdin.
type lineReader struct{ lines chan lineOrError }

type lineOrError struct {
	line []byte
	err  error
}

func readLines(ctx context.Context, in io.Reader) *lineReader {
	r := &lineReader{lines: make(chan lineOrError, 256)}
	go func() {
		defer close(r.lines)
		buffered := bufio.NewReaderSize(in, 64<<10)
		for {
			line, err := oneLine(buffered)
			if err == io.EOF {
				return
			}
			select {
			case r.lines <- lineOrError{line, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return r
}

// next returns the next line without its newline, io.EOF after the last one, or
// why ctx ended.
func (r *lineReader) next(ctx context.Context) ([]byte, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	select {
	case l, ok := <-r.lines:
		if !ok {
			return nil, io.EOF
		}
		return l.line, l.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// oneLine reads to the next newline. The last line may lack it; io.EOF means
// that there is no further line.
func oneLine(in *bufio.Reader) ([]byte, error) {
	line := []byte{} // never nil: an empty line is an empty value, not null
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxLine:
			return nil, fmt.Errorf("the line is longer than %d MiB", maxLine>>20)
		case err == nil:
			return line[:len(line)-1], nil
		case err == bufio.ErrBufferFull:
		case err == io.EOF && len(line) > 0:
			return line, nil
		default:
			return nil, err
		}
	}
}
