package route

// Cause says why a request took its side.
type Cause uint8

// The causes.
const (
	ByKey    Cause = iota // its key has this point
	ByChance              // it has no key
	ByMatch               // the side is for requests like it
	NumCauses
)

var causeNames = [NumCauses]string{ByKey: "key", ByChance: "chance", ByMatch: "match"}

func (c Cause) String() string { return causeNames[c] }

// Counter counts something.
type Counter interface{ Add(n int64) }

// Exposure counts the requests that took a side, by cause. What is nil in it
// counts nothing.
type Exposure [NumCauses]Counter

func (e *Exposure) count(cause Cause) {
	if c := e[cause]; c != nil {
		c.Add(1)
	}
}
