package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/internal/recordio"
)

// stdinRecord is a record and the line that it stood on.
type stdinRecord struct {
	rec  *klamm.Record
	line int
	err  error
}

// stdinRecords reads records on a goroutine of its own, so that a Ctrl-C does
// not wait for stdin. That goroutine ends with stdin or with the process.
type stdinRecords chan stdinRecord

func readRecords(ctx context.Context, in io.Reader, o recordio.ReaderOptions) stdinRecords {
	records := make(stdinRecords, 256)
	go func() {
		defer close(records)
		r := recordio.NewReader(in, o)
		for {
			rec, err := r.Read()
			if err == io.EOF {
				return
			}
			select {
			case records <- stdinRecord{rec, r.Line(), err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return records
}

// next returns the next record, io.EOF after the last one, or why ctx ended.
func (s stdinRecords) next(ctx context.Context) (stdinRecord, error) {
	if err := context.Cause(ctx); err != nil {
		return stdinRecord{}, err
	}
	select {
	case r, ok := <-s:
		if !ok {
			return r, io.EOF
		}
		return r, lineError("stdin", r.err)
	case <-ctx.Done():
		return stdinRecord{}, context.Cause(ctx)
	}
}

// lineError writes a line's error as file:line:column: what.
func lineError(file string, err error) error {
	var at *recordio.LineError
	var parse *recordio.ParseError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &at):
		return fmt.Errorf("%s: %w", file, err)
	case errors.As(at.Err, &parse):
		return fmt.Errorf("%s:%d:%d: %s", file, at.Line, parse.Column, parse.Reason)
	}
	return fmt.Errorf("%s:%d: %w", file, at.Line, at.Err)
}
