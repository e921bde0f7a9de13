package plugin

// pulled is what was fetched of a record that did not fit into the block.
type pulled struct {
	i       int
	value   []byte
	headers []byte
}

func (k *block) pulledOf(i int) *pulled {
	for n := range k.pulled {
		if k.pulled[n].i == i {
			return &k.pulled[n]
		}
	}
	k.pulled = append(k.pulled, pulled{i: i})
	return &k.pulled[len(k.pulled)-1]
}

func (e Entry) pullValue() []byte {
	n := e.ValueLen()
	if n < 0 {
		return nil
	}
	p := e.k.pulledOf(e.i)
	if p.value == nil {
		b := make([]byte, n)
		if got := importValue(e.i, b); int(got) != n {
			panic("plugin: the host did not hand out the value that it had left out")
		}
		p.value = b
	}
	return p.value
}

// headersGuess is the first size that headers are asked for with; the host
// answers with the size it needs.
const headersGuess = 512 << 10

func (e Entry) pullHeaders(count int) []byte {
	p := e.k.pulledOf(e.i)
	for size := headersGuess; p.headers == nil; {
		b := make([]byte, size)
		got := int(importHeaders(e.i, b))
		switch {
		case got > size:
			size = got
		case got < count*16:
			panic("plugin: the host did not hand out the headers that it had left out")
		default:
			p.headers = b[:got]
		}
	}
	return p.headers
}
