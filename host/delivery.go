package host

import (
	"errors"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/interceptor"
	"github.com/klamm-io/klamm/state"
)

// delivery is one record on its way from being read to its completion. It ends once:
// by done, fail or lost.
type delivery struct {
	pr     *progress // of its partition
	number uint64    // in pr
	ref    state.Ref // of claims made in on_consume, 0: none
	offset int64
	// read is the record as it was fetched, where no plugin saw it; its bytes are
	// the consumption's. Otherwise it is a copy, where one was kept. A pipeline
	// changes where it goes to.
	read  *klamm.Record
	turn  uint64 // of an exactly-once pipeline, the record's place in the order of reading
	in    *parcel
	again *retrial // nil: it is not tried again
	// finished is finish, which is made once for each place in a parcel.
	finished func(klamm.Result)
}

// begin fills d in, in place.
func (d *delivery) begin(pr *progress, offset int64) {
	d.pr, d.offset, d.ref, d.read, d.turn, d.again = pr, offset, 0, nil, 0, nil
	d.number = pr.begin(offset)
	pr.c.tally.accept(1)
}

// keep returns the record for as long as it is in flight: it may have to go to the
// dead-letter topic then. The memory of a block is reused, so what came in one is
// copied.
func (d *delivery) keep(it *interceptor.Item) *klamm.Record {
	if d.read == nil {
		d.read = cloneRecord(&it.Record)
	}
	return d.read
}

// asRead returns the record as it was read.
func (d *delivery) asRead() klamm.Record {
	rec := *d.read
	rec.Topic, rec.Target = d.pr.tp.Topic, 0
	return rec
}

// finish follows what became of a record that the producer took over.
func (d *delivery) finish(r klamm.Result) {
	if r.Outcome == klamm.Failed {
		d.pr.c.refused(d, r)
		return
	}
	d.complete(&r)
}

// done completes the record.
func (d *delivery) done(r klamm.Result) { d.complete(&r) }

func (d *delivery) complete(r *klamm.Result) {
	c := d.pr.c
	if c.sheets != nil { // first: what is done may be committed at once
		c.sheets.add(d.pr.tp, r)
	}
	counts, follows := d.pr.done(d.number, d.ref)
	if counts {
		c.tally.complete(r.Outcome, 1)
	}
	if !follows {
		d.release(errPartitionGone)
	}
	d.in.ended(1)
}

// dropped completes a record that on_consume dropped. In an exactly-once pipeline it
// counts when the position passes it: one before it may be held, so that others read
// it again, and count it, should the life end.
func (d *delivery) dropped(r klamm.Result) {
	if d.pr.c.commitAll == nil {
		d.done(r)
		return
	}
	if !d.pr.drop(d.number, d.ref) {
		d.release(errPartitionGone)
	}
	d.in.ended(1)
}

// fail says that the record will not be completed here. Unless its partition has
// gone to another member, that ends the consumption.
func (d *delivery) fail(err error) {
	if errors.Is(err, errPartitionGone) {
		d.release(err)
		d.pr.fail()
		d.in.ended(1)
		return
	}
	c := d.pr.c
	d.lost(err)
	c.stop(err)
}

// lost notes that the record was not completed and never will be.
func (d *delivery) lost(err error) {
	d.pr.c.failed.CompareAndSwap(nil, &err)
	d.release(err)
	d.pr.fail()
	d.in.ended(1)
}

// release gives the record's claims back. One that will not be committed here is
// read again, and would be a duplicate of itself then.
func (d *delivery) release(why error) {
	if d.ref != 0 {
		d.pr.c.h.settleClaims(d.pr.tp, []progressClaim{{ref: d.ref, offset: d.offset}}, klamm.Failed, why)
	}
}
