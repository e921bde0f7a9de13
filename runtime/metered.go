package runtime

// Metered says that every loop and every bulk instruction of a guest is counted
// and can be stopped. Without it a guest that works without loops, or fills memory
// for long, holds its goroutine until it is done.
const Metered = true
