//go:build !race

package consume

const scribbles = false
