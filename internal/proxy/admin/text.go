package admin

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// printable is s on one line, without what a terminal would obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\ufffd'
	}, s)
}

// table prints rows in columns. Every cell is made printable.
func table(out *strings.Builder, rows [][]string) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if cell == "" {
				cell = "-"
			}
			row[i] = printable(cell)
		}
		_, _ = fmt.Fprintln(w, strings.Join(row, "\t")) // as Flush
	}
	_ = w.Flush() // out is in memory
}

func printRoutes(out *strings.Builder, routes []Route) {
	rows := [][]string{{"ROUTE", "LISTENERS", "MATCH", "ACTION", "FILTERS", "PRIORITY", "TIMEOUT", "POS", "HELD"}}
	for _, r := range routes {
		rows = append(rows, []string{
			r.Name, strings.Join(r.Listeners, ","), r.Match, r.Action, strings.Join(r.Filters, ","),
			fmt.Sprint(r.Priority), r.Timeout.String(), r.Pos, r.Held,
		})
	}
	table(out, rows)
}

func printClusters(out *strings.Builder, clusters []Cluster) {
	for i, c := range clusters {
		if i > 0 {
			fmt.Fprintln(out)
		}
		fmt.Fprintf(out, "%s  balance %s, requests %s, connections %s", printable(c.Name), printable(c.Balance),
			of(c.Requests, c.MaxRequests), of(c.Connections, c.MaxConnections))
		if c.MaxRetries > 0 || c.Retries > 0 {
			fmt.Fprintf(out, ", retries %s", of(c.Retries, c.MaxRetries))
		}
		if c.RetryBudget != "" {
			fmt.Fprintf(out, ", retries %s", printable(c.RetryBudget))
		}
		if c.Held != "" {
			fmt.Fprintf(out, "\n  held: %s", printable(c.Held))
		}
		fmt.Fprintln(out)
		printLevels(out, c.Levels)
		printEndpoints(out, c.Endpoints, c.Each)
	}
}

func printLevels(out *strings.Builder, levels []Level) {
	for _, l := range levels {
		fmt.Fprintf(out, "  priority %d: %d of %d fit, %.0f %% of the traffic", l.Priority, l.Fit, l.Of, 100*l.Share)
		if l.Local != nil {
			fmt.Fprintf(out, ", %.0f %% of that in the local zone", 100**l.Local)
		}
		if l.Panic {
			fmt.Fprint(out, ", PANIC: all endpoints are used, whatever their health")
		}
		fmt.Fprintln(out)
	}
}

// place is where an endpoint stands: "1 eu-1a version=v2".
func (e *Endpoint) place() string {
	var words []string
	if e.Priority != 0 {
		words = append(words, "priority "+strconv.Itoa(e.Priority))
	}
	for _, word := range []string{e.Zone, e.Labels.String()} {
		if word != "" {
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}

// weight is what is written, and what changes it for now.
func (e *Endpoint) weight() string {
	text := strconv.Itoa(e.Weight)
	if e.Reported > 0 {
		text += fmt.Sprintf(" x%.2f", e.Reported)
	}
	if e.Rising > 0 {
		text += fmt.Sprintf(" at %.0f %%", 100*e.Rising)
	}
	return text
}

func printEndpoints(out *strings.Builder, endpoints []Endpoint, each *EndpointLimits) {
	if each == nil {
		each = &EndpointLimits{}
	}
	rows := [][]string{{"  ENDPOINT", "HOST", "PLACE", "WEIGHT", "HEALTH", "IN FLIGHT", "PENDING", "REQUESTS", "FAILURES", "IN A ROW", "EJECTED", "OPEN", "IDLE", "HORIZON", "LATENCY", "REASON"}}
	for _, e := range endpoints {
		health, horizon, latency := e.Health, "", ""
		if !e.Until.IsZero() {
			health += " until " + e.Until.UTC().Format(time.TimeOnly)
		}
		if e.Full {
			health += ", full"
		}
		if e.Horizon > 0 {
			horizon = e.Horizon.String()
		}
		reason := e.Reason
		if e.LoadStream != "" && e.LoadStream != "open" {
			reason = strings.TrimPrefix(reason+"; load_stream: "+e.LoadStream, "; ")
		}
		if e.Latency > 0 {
			latency = time.Duration(e.Latency).Round(100 * time.Microsecond).String()
		}
		rows = append(rows, []string{
			"  " + e.Address, e.Host, e.place(), e.weight(), health, of(e.InFlight, each.Requests), of(e.Pending, each.Pending), fmt.Sprint(e.Requests),
			fmt.Sprint(e.Failures), fmt.Sprint(e.Consecutive), fmt.Sprint(e.Ejections), of(int64(e.Open), each.Connections), fmt.Sprint(e.Idle), horizon, latency, reason,
		})
	}
	table(out, rows)
}

// of is "3 of 100"; a limit of 0 is none.
func of(n, limit int64) string {
	if limit == 0 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d of %d", n, limit)
}

func printConnections(out *strings.Builder, list *Connections) {
	fmt.Fprintf(out, "%d open, %d shown\n", list.Open, len(list.Shown))
	rows := [][]string{{"ID", "LISTENER", "PROTOCOL", "REMOTE", "PHASE", "AGE", "REQUESTS", "BYTES IN", "BYTES OUT", "TLS", "SERVER NAME", "IDENTITY"}}
	for _, c := range list.Shown {
		rows = append(rows, []string{
			fmt.Sprint(c.ID), c.Listener, c.Protocol, c.Remote, c.Phase, time.Duration(c.Age).Round(time.Millisecond).String(), fmt.Sprint(c.Requests),
			fmt.Sprint(c.BytesIn), fmt.Sprint(c.BytesOut), c.TLS, c.ServerName, c.Identity,
		})
	}
	table(out, rows)
}

func printOverload(out *strings.Builder, o *Overload) {
	rows := [][]string{{"RESOURCE", "USED", "LIMIT", "GRADES"}}
	for _, r := range o.Resources {
		rows = append(rows, []string{r.Name, fmt.Sprintf("%.4g", r.Used), fmt.Sprintf("%.4g", r.Limit), strings.Join(r.Grades, " ")})
	}
	table(out, rows)
	rows = [][]string{{"TENANT", "HELD", "BYTES X SECONDS"}}
	for _, t := range o.Tenants {
		rows = append(rows, []string{t.Name, fmt.Sprint(t.Held), fmt.Sprintf("%.0f", t.Spent)})
	}
	table(out, rows)
}

func printReload(out *strings.Builder, result *ReloadResult, err error) {
	for _, p := range result.Problems {
		fmt.Fprintln(out, printable(p.String()))
	}
	for _, held := range result.Held {
		fmt.Fprintln(out, printable(held)+" keeps its last good version")
	}
	switch {
	case err != nil:
		fmt.Fprintf(out, "not applied: %s; snapshot %d stays\n", printable(err.Error()), result.Snapshot)
	case result.Changed:
		fmt.Fprintf(out, "snapshot %d serves\n", result.Snapshot)
	default:
		fmt.Fprintf(out, "nothing has changed; snapshot %d serves\n", result.Snapshot)
	}
}

func printEvents(out *strings.Builder, events []Event) {
	rows := [][]string{{"AT", "CLUSTER", "ENDPOINT", "EVENT", "FROM", "TO", "CAUSE", "REASON", "UNTIL"}}
	for _, ev := range events {
		until := ""
		if !ev.Until.IsZero() {
			until = ev.Until.UTC().Format(time.TimeOnly)
		}
		rows = append(rows, []string{
			ev.At.UTC().Format("2006-01-02 15:04:05"), ev.Cluster, ev.Endpoint, ev.Event, ev.From, ev.To, ev.Cause, ev.Reason, until,
		})
	}
	table(out, rows)
}
