package registry

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/klamm-io/klamm/host/typed"
)

// Config says how to reach a registry. URLs are required.
type Config struct {
	// URLs of the registry's nodes, tried one after the other.
	URLs []string
	// Options of the HTTP client: user and password, TLS, logging.
	Options []sr.ClientOpt
	// Subject names the subject of a field's schema. Default: TopicName.
	Subject Subject
	// AutoRegister adds schemas that the registry does not have to their subject.
	// Default false: such a schema is an error, so that a program cannot change
	// what a topic holds by being started. (Confluent's serialisers register by
	// default.)
	AutoRegister bool
}

// Subject names the subject of a field's schema; name is the schema's full name.
type Subject func(at *typed.Field, name string) string

// TopicName is one schema for each topic: "orders-key", "orders-value".
func TopicName(at *typed.Field, _ string) string {
	if at.Key {
		return at.Topic + "-key"
	}
	return at.Topic + "-value"
}

// RecordName is one schema for each name, in whatever topic: "com.shop.Order".
func RecordName(_ *typed.Field, name string) string { return name }

// TopicRecordName lets a topic hold several: "orders-com.shop.Order".
func TopicRecordName(at *typed.Field, name string) string { return at.Topic + "-" + name }

// Client asks a registry and keeps what it said. It is safe for concurrent use.
type Client struct {
	sr       *sr.Client
	subject  Subject
	register bool

	// asking lets one goroutine at a time ask: the others find its answer kept.
	asking chan struct{}

	mu      sync.RWMutex
	schemas map[int]sr.Schema
}

// NewClient returns a client. It does not ask the registry yet.
func NewClient(cfg Config) (*Client, error) {
	if len(cfg.URLs) == 0 {
		return nil, errors.New("schema registry: no URL is given, such as http://localhost:8081")
	}
	c, err := sr.NewClient(append([]sr.ClientOpt{sr.URLs(cfg.URLs...)}, cfg.Options...)...)
	if err != nil {
		return nil, fmt.Errorf("schema registry: %w", err)
	}
	if cfg.Subject == nil {
		cfg.Subject = TopicName
	}
	return &Client{sr: c, subject: cfg.Subject, register: cfg.AutoRegister, asking: make(chan struct{}, 1), schemas: map[int]sr.Schema{}}, nil
}

// SchemaError is a schema that the registry did not give or take.
type SchemaError struct {
	Subject string // "" when the schema was asked for by its id
	ID      int    // 0 when it was asked for by its subject
	What    string // what was tried
	Err     error
}

func (e *SchemaError) Error() string {
	which := fmt.Sprintf("schema %d", e.ID)
	if e.Subject != "" {
		which = fmt.Sprintf("subject %q", e.Subject)
	}
	return fmt.Sprintf("%s: %s: %v", which, e.What, e.Err)
}

func (e *SchemaError) Unwrap() error { return e.Err }

// turn waits for the right to ask.
func (c *Client) turn(ctx context.Context) (done func(), err error) {
	select {
	case c.asking <- struct{}{}:
		return func() { <-c.asking }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// id returns the id of a schema in a subject.
func (c *Client) id(ctx context.Context, subject string, s sr.Schema) (int, error) {
	if c.register {
		got, err := c.sr.CreateSchema(ctx, subject, s)
		if err != nil {
			return 0, &SchemaError{Subject: subject, What: fmt.Sprintf("register the %s schema", s.Type), Err: err}
		}
		return got.ID, nil
	}
	got, err := c.sr.LookupSchema(ctx, subject, s)
	if err != nil {
		what := fmt.Sprintf("look up the %s schema", s.Type)
		if missing(err) {
			what += " (it is not there: register it, or set AutoRegister)"
		}
		return 0, &SchemaError{Subject: subject, What: what, Err: err}
	}
	return got.ID, nil
}

func missing(err error) bool {
	var re *sr.ResponseError
	return errors.As(err, &re) && (re.ErrorCode == sr.ErrSubjectNotFound.Code || re.ErrorCode == sr.ErrSchemaNotFound.Code)
}

// schema returns the schema of an id.
func (c *Client) schema(ctx context.Context, id int) (sr.Schema, error) {
	if s, ok := c.kept(id); ok {
		return s, nil
	}
	done, err := c.turn(ctx)
	if err != nil {
		return sr.Schema{}, &SchemaError{ID: id, What: "get it", Err: err}
	}
	defer done()
	if s, ok := c.kept(id); ok {
		return s, nil
	}
	s, err := c.sr.SchemaByID(ctx, id)
	if err != nil {
		return s, &SchemaError{ID: id, What: "get it", Err: err}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.schemas[id] = s
	return s, nil
}

func (c *Client) kept(id int) (sr.Schema, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	s, ok := c.schemas[id]
	return s, ok
}
