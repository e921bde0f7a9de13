package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
)

// responseMaxBytes bounds one answer to Conn.Request.
const responseMaxBytes = 256 << 20

// Request sends a request and waits for its answer, for those that sarama cannot
// encode or whose bytes it would copy. One call at a time, and none beside frames
// of the caller's own.
//
// It takes the highest version that the broker, kmsg and most know. An error
// leaves the connection unusable, an ended ctx too: close it then. The answer's
// bytes belong to the caller.
func (c *Conn) Request(ctx context.Context, req kmsg.Request, most int16) (kmsg.Response, error) {
	lo, hi, ok := c.Version(req.Key())
	most = min(most, hi, req.MaxVersion())
	if !ok || most < lo {
		return nil, fmt.Errorf("%s: the broker knows versions %d to %d, this needs one up to %d: %w",
			kmsg.NameForKey(req.Key()), lo, hi, most, &klamm.BrokerError{Code: klamm.CodeUnsupportedVersion})
	}
	req.SetVersion(most)
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	resp, err := c.exchange(req)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kmsg.NameForKey(req.Key()), err)
	}
	return resp, nil
}

func (c *Conn) exchange(req kmsg.Request) (kmsg.Response, error) {
	c.correlation++
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID(c.clientID)).AppendRequest(c.frame[:0], req, c.correlation)
	c.frame = frame
	if _, err := c.Write(frame); err != nil {
		return nil, err
	}
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size < 4 || size > responseMaxBytes {
		return nil, fmt.Errorf("an answer of %d bytes, %d are allowed", size, responseMaxBytes)
	}
	body, err := readBody(c, int(size))
	if err != nil {
		return nil, err
	}
	return decodeResponse(req, c.correlation, body)
}

// readBody reads size bytes. It takes memory for what has arrived, not for the
// length that the broker claims.
func readBody(r io.Reader, size int) ([]byte, error) {
	const first = 1 << 20
	body := make([]byte, min(size, first))
	for got := 0; ; {
		n, err := io.ReadFull(r, body[got:])
		if err != nil {
			return nil, fmt.Errorf("the answer ended after %d of %d bytes: %w", got+n, size, err)
		}
		if got = len(body); got == size {
			return body, nil
		}
		body = append(body, make([]byte, min(size-got, got))...)
	}
}

func decodeResponse(req kmsg.Request, correlation int32, body []byte) (kmsg.Response, error) {
	if got := int32(binary.BigEndian.Uint32(body)); got != correlation {
		return nil, fmt.Errorf("the answer to request %d came to request %d", got, correlation)
	}
	resp := req.ResponseKind()
	body = body[4:]
	// ApiVersions answers have the old header (KIP-511).
	if resp.IsFlexible() && resp.Key() != int16(kmsg.ApiVersions) {
		var err error
		if body, err = skipTags(body); err != nil {
			return nil, err
		}
	}
	return resp, resp.ReadFrom(body)
}

var errTags = errors.New("the answer's header ends early")

// skipTags passes over the tagged fields of a response header (KIP-482).
func skipTags(b []byte) ([]byte, error) {
	n, size := binary.Uvarint(b)
	if size <= 0 {
		return nil, errTags
	}
	b = b[size:]
	for ; n > 0; n-- {
		_, size := binary.Uvarint(b)
		if size <= 0 {
			return nil, errTags
		}
		b = b[size:]
		length, size := binary.Uvarint(b)
		if size <= 0 || length > uint64(len(b)-size) {
			return nil, errTags
		}
		b = b[size+int(length):]
	}
	return b, nil
}
