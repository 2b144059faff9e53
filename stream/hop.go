package stream

// What proxies on the way of one request tell each other about retries: a
// response with this field was to be retried and is not, because that was done
// or must not be. No other hop retries it then.
const (
	RetryHeader = "Weir-Retry"
	RetrySpent  = "spent"
)
