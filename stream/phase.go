package stream

import "time"

// Phase is what a connection is doing. Every wait on a peer happens in exactly
// one phase, and every phase has a limit: PhaseLimits has a slot for each, and
// a test stalls a connection in every one of them.
type Phase uint8

// The phases of a downstream connection, in the order of its life, then those
// of an upstream connection.
const (
	PhaseProxyHeader  Phase = iota // reading a PROXY protocol header
	PhaseHello                     // reading a TLS hello to pass it on, or the first bytes to tell the protocol
	PhaseHandshake                 // TLS handshake
	PhasePreface                   // reading the preface of HTTP/2 and the first SETTINGS
	PhaseIdle                      // waiting for the first byte of a request
	PhaseHead                      // reading a request head
	PhaseBody                      // reading a request body
	PhaseWait                      // waiting for a response; the cluster's timeouts end it
	PhaseWrite                     // writing a response
	PhaseTunnel                    // carrying an upgraded connection, a TCP connection or a UDP session
	PhaseLinger                    // reading what is left before the close
	PhaseUpstreamSend              // writing a request upstream
	PhaseUpstreamHead              // waiting for the head of a response
	PhaseUpstreamBody              // reading the body of a response
	NumPhases
)

var phaseNames = [NumPhases]string{
	"proxy_header", "hello", "handshake", "preface", "idle", "head", "body", "wait", "write", "tunnel", "linger",
	"upstream_send", "upstream_head", "upstream_body",
}

func (p Phase) String() string { return phaseNames[p] }

// PhaseLimit judges a peer by its progress. A zero part is not checked, but
// one part at least is set (PhaseLimits.Missing).
type PhaseLimit struct {
	Idle    time.Duration // longest time without one byte moved
	Ceiling time.Duration // longest time for the whole phase
	MinRate int64         // bytes per second on average, once the phase is older than Grace
	Grace   time.Duration // how long MinRate is not checked yet
	Floor   time.Duration // what Idle and Ceiling may be shortened to when memory or connections run out; 0: they may not
}

// PhaseLimits has the limit of every phase.
type PhaseLimits [NumPhases]PhaseLimit

// Missing lists the phases without any limit.
func (l *PhaseLimits) Missing() []Phase {
	var missing []Phase
	for p := range NumPhases {
		if l[p].Idle == 0 && l[p].Ceiling == 0 {
			missing = append(missing, p)
		}
	}
	return missing
}
