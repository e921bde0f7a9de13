package produce

// deque holds a partition's batches that wait for a request, oldest first. It
// is a ring that grows.
type deque struct {
	ring []*batch
	head int
	n    int
}

func (d *deque) len() int { return d.n }

// at returns the i-th batch from the front.
func (d *deque) at(i int) *batch { return d.ring[(d.head+i)&(len(d.ring)-1)] }

func (d *deque) set(i int, b *batch) { d.ring[(d.head+i)&(len(d.ring)-1)] = b }

// last returns the batch at the back, nil when there is none.
func (d *deque) last() *batch {
	if d.n == 0 {
		return nil
	}
	return d.at(d.n - 1)
}

func (d *deque) pushBack(b *batch) { d.insert(d.n, b) }

// insert puts b in front of the i-th batch.
func (d *deque) insert(i int, b *batch) {
	if d.n == len(d.ring) {
		d.grow()
	}
	if i == 0 {
		d.head = (d.head - 1) & (len(d.ring) - 1)
		d.n++
		d.set(0, b)
		return
	}
	d.n++
	for j := d.n - 1; j > i; j-- {
		d.set(j, d.at(j-1))
	}
	d.set(i, b)
}

// remove takes the i-th batch out.
func (d *deque) remove(i int) *batch {
	b := d.at(i)
	if i == 0 {
		d.set(0, nil)
		d.head = (d.head + 1) & (len(d.ring) - 1)
		d.n--
		return b
	}
	for j := i; j < d.n-1; j++ {
		d.set(j, d.at(j+1))
	}
	d.set(d.n-1, nil)
	d.n--
	return b
}

func (d *deque) grow() {
	ring := make([]*batch, max(4, 2*len(d.ring)))
	for i := range d.n {
		ring[i] = d.at(i)
	}
	d.ring, d.head = ring, 0
}
