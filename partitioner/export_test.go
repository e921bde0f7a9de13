package partitioner

// NewSticky is newSticky's verdict on a size.
func NewSticky(size int) error {
	_, err := newSticky(size, anyOf, random)
	return err
}
