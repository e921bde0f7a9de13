package plugin

import "github.com/klamm-io/klamm/sdk/abi"

// pulled is what was fetched of a record that did not fit into the block.
type pulled struct {
	i                    int
	value, headers       []byte
	hasValue, hasHeaders bool
}

// pulledOf returns where what is fetched of record i is kept until the call ends.
// Buffers of earlier calls are used again.
func (k *block) pulledOf(i int) *pulled {
	for n := range k.pulled {
		if k.pulled[n].i == i {
			return &k.pulled[n]
		}
	}
	n := len(k.pulled)
	if n == cap(k.pulled) {
		k.pulled = append(k.pulled, pulled{})
	}
	k.pulled = k.pulled[:n+1]
	p := &k.pulled[n]
	p.i, p.value, p.headers = i, p.value[:0], p.headers[:0]
	p.hasValue, p.hasHeaders = false, false
	return p
}

// large is from where on memory is worth a collection before it is taken: hosts
// let Go's collector run only when the memory's limit is near, and a few blocks
// of this size that are garbage already would run into it.
const large = 1 << 20

// sized returns b, or a new buffer, with n bytes. It is never nil.
func sized(b []byte, n int) []byte {
	if b != nil && cap(b) >= n {
		return b[:n]
	}
	if n >= large {
		collect()
	}
	return make([]byte, n)
}

// memoryMax is the most memory that a host gives to a plugin.
const memoryMax = 64 << 20

func (e Entry) pullValue() []byte {
	n := e.ValueLen()
	if n < 0 {
		return nil
	}
	if n > memoryMax {
		panic("plugin: a value of more bytes than a plugin's memory can have")
	}
	p := e.k.pulledOf(e.i)
	if !p.hasValue {
		old := p.value
		p.value = nil
		p.value = sized(old, n)
		if got := importValue(e.i, p.value); int(got) != n {
			panic("plugin: the host did not hand out the value that it had left out")
		}
		p.hasValue = true
	}
	return p.value[:n:n]
}

// headersGuess is the first size that headers are asked for with; the host
// answers with the size it needs.
const headersGuess = 4 << 10

func (e Entry) pullHeaders(count int) []byte {
	p := e.k.pulledOf(e.i)
	for size := headersGuess; !p.hasHeaders; {
		p.headers = sized(p.headers, size)
		got := int(importHeaders(e.i, p.headers))
		switch {
		case got > size:
			size = got
		case got < count*abi.HeaderEntrySize:
			panic("plugin: the host did not hand out the headers that it had left out")
		default:
			p.headers, p.hasHeaders = p.headers[:got], true
		}
	}
	return p.headers
}
