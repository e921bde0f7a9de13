package admin

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Client talks to the listener of a running host.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// NewClient returns a client for what admin.listen says: host:port or unix:PATH.
func NewClient(listen, token string) *Client {
	c := &Client{base: "http://" + listen, token: token}
	transport := &http.Transport{DisableKeepAlives: true}
	if path, unix := IsUnix(listen); unix {
		c.base = "http://localhost"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}
	}
	c.http = &http.Client{Transport: transport}
	return c
}

// Status returns the plugins of the host.
func (c *Client) Status(ctx context.Context) (out StatusAnswer, err error) {
	return out, c.do(ctx, http.MethodGet, "/v1/plugins", nil, nil, &out)
}

// History returns what one plugin was given since the host started.
func (c *Client) History(ctx context.Context, plugin string) (out HistoryAnswer, err error) {
	return out, c.do(ctx, http.MethodGet, "/v1/plugins/"+url.PathEscape(plugin)+"/history", nil, nil, &out)
}

// Deploy gives a plugin a new module. signature may be nil.
func (c *Client) Deploy(ctx context.Context, plugin string, wasm, signature []byte) (out DeployAnswer, err error) {
	header := http.Header{"Content-Type": {moduleType}}
	if signature != nil {
		header.Set(HeaderSignature, base64.StdEncoding.EncodeToString(signature))
	}
	return out, c.do(ctx, http.MethodPost, "/v1/plugins/"+url.PathEscape(plugin)+"/deploy", header, wasm, &out)
}

// Rollback brings the generation before the running one back.
func (c *Client) Rollback(ctx context.Context, plugin string) (out DeployAnswer, err error) {
	return out, c.do(ctx, http.MethodPost, "/v1/plugins/"+url.PathEscape(plugin)+"/rollback", nil, nil, &out)
}

// Pipelines returns the pipelines of the host.
func (c *Client) Pipelines(ctx context.Context) (out PipelinesAnswer, err error) {
	return out, c.do(ctx, http.MethodGet, "/v1/pipelines", nil, nil, &out)
}

// PausePipeline stops a pipeline's reading and returns the pipelines as they are
// then.
func (c *Client) PausePipeline(ctx context.Context, name string) (out PipelinesAnswer, err error) {
	return out, c.do(ctx, http.MethodPost, "/v1/pipelines/"+url.PathEscape(name)+"/pause", nil, nil, &out)
}

// ResumePipeline goes on with a paused pipeline.
func (c *Client) ResumePipeline(ctx context.Context, name string) (out PipelinesAnswer, err error) {
	return out, c.do(ctx, http.MethodPost, "/v1/pipelines/"+url.PathEscape(name)+"/resume", nil, nil, &out)
}

// Refusal is the host's own error.
type Refusal struct {
	Status int
	Text   string
}

func (e *Refusal) Error() string { return e.Text }

// do makes one call whose answer is one JSON value.
func (c *Client) do(ctx context.Context, method, path string, header http.Header, body []byte, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := c.send(ctx, method, path, header, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refusal(resp)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, answerMax))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return json.Unmarshal(answer, out)
}

const (
	callTimeout = 2 * time.Minute
	answerMax   = 8 << 20
)

// send makes a call. The caller closes the answer's body.
func (c *Client) send(ctx context.Context, method, path string, header http.Header, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	return c.http.Do(req)
}

// refusal is the host's answer to a call that it did not carry out.
func refusal(resp *http.Response) error {
	answer, err := io.ReadAll(io.LimitReader(resp.Body, answerMax))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	var refused ErrorAnswer
	if json.Unmarshal(answer, &refused) != nil || refused.Error == "" {
		refused.Error = string(bytes.TrimSpace(answer))
	}
	return &Refusal{Status: resp.StatusCode, Text: refused.Error}
}

func statePath(name, then string) string { return "/v1/states/" + url.PathEscape(name) + then }
