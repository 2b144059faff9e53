package pressure

// Grade is one of the things that are done before the process has used up what
// it may.
type Grade uint8

// The grades, in the order in which they hurt.
const (
	Shorten Grade = iota // idle connections are kept for less long
	Tighten              // connections end with the answer to their present request
	Shed                 // what is of low importance is refused
	Refuse               // new connections are refused, and what is not of high importance
	Reset                // what keeps most in memory for longest is reset
	NumGrades
)

func (g Grade) String() string {
	return [...]string{"shorten", "tighten", "shed", "refuse", "reset"}[g]
}

// Grades is a set of them.
type Grades uint32

// The sets that sensors have.
const (
	// All is for what each of the grades gives back: memory.
	All = 1<<NumGrades - 1
	// Connections is for what connections use up. Resetting those that hold most
	// memory would give back few of them.
	Connections = All &^ (1 << Reset)
	// Work is for what only less work makes better. Connections that have to be
	// made again are more.
	Work = 1<<Shed | 1<<Refuse
	// Nothing is for what is shown and decides nothing.
	Nothing = 0
)

// Has tells whether g is in the set.
func (s Grades) Has(g Grade) bool { return s>>g&1 == 1 }

// With is the set with g, or without it.
func (s Grades) With(g Grade, in bool) Grades {
	if in {
		return s | 1<<g
	}
	return s &^ (1 << g)
}

// Names are the words for the grades of the set.
func (s Grades) Names() []string {
	names := []string{}
	for g := range NumGrades {
		if s.Has(g) {
			names = append(names, g.String())
		}
	}
	return names
}

// Thresholds are the shares of what there is at which the grades begin.
type Thresholds [NumGrades]float64
