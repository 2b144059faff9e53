package http1

// exchangeStack is what an exchange needs of the stack, in bytes, through all
// stages down to the write on the upstream connection: 3.8 KB on amd64, and
// what filters take.
const exchangeStack = 4608

// deepen makes the stack of a new goroutine as large as its first exchange needs
// it, which it would become anyway, in two or three steps. A step copies the
// stack frame by frame; here there are five frames, in the midst of an exchange
// there are thirty. Of a connection that carries one request that was a tenth of
// the cost.
//
// The array is what counts, nobody uses it: touch is false.
//
//go:noinline
func deepen(touch bool) byte {
	if !touch {
		return 0
	}
	var room [exchangeStack]byte
	for i := range room {
		room[i] = byte(i)
	}
	return room[len(room)/3]
}
